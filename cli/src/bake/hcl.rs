//! docker bake files, in HCL and in JSON: variables, functions of HCL, targets, groups and matrices.
//!
//! A variable stays a variable: where an expression only puts it into a text, the project file asks the environment for
//! it, with bake's default. What is computed from variables is computed once, with their defaults, and said.
//! Language: <https://docs.docker.com/build/bake/reference/>.

use super::convert::{self, Taker};
use super::finish::finish;
use super::functions::declare_functions;
use super::{Draft, Project, Remark, line_of, literal};
use hcl::eval::{Context, Evaluate as _};
use hcl::expr::Expression;
use hcl::structure::{Block, Body, Structure};
use hcl::template::{Element, Template};
use serde_json::Value;

/// Between these stands the name of a variable while texts are evaluated; no text has them.
const OPEN: char = '\u{f0000}';
const CLOSE: char = '\u{f0001}';

/// The most targets that matrices are spelt out to.
const MAX_TARGETS: usize = 1000;

/// Reads HCL.
pub fn read(text: &str) -> Result<Project, String> {
    let body = hcl::parse(text).map_err(|error| error.to_string())?;
    Reader::new(text).read(&body)
}

/// Reads JSON: the same, blocks as members.
pub fn read_json(text: &str) -> Result<Project, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let Value::Object(top) = value else { return Err("it is no JSON object".to_owned()) };
    let mut body = Body::builder();
    for (kind, members) in top {
        let Value::Object(members) = members else { continue };
        for (name, attributes) in members {
            let Value::Object(attributes) = attributes else { continue };
            let mut block = Block::builder(kind.clone()).add_label(name);
            for (key, value) in attributes {
                block = block.add_attribute((hcl::Identifier::sanitized(&key), expression(&value)));
            }
            body = body.add_block(block.build());
        }
    }
    Reader::new(text).read(&body.build())
}

/// A value of JSON, its texts as templates.
fn expression(value: &Value) -> Expression {
    match value {
        Value::Null => Expression::Null,
        Value::Bool(yes) => Expression::Bool(*yes),
        Value::Number(number) => {
            number.as_i64().map_or_else(|| Expression::String(number.to_string()), Expression::from)
        }
        Value::String(text) if text.contains("${") || text.contains("%{") => {
            Expression::TemplateExpr(Box::new(hcl::expr::TemplateExpr::QuotedString(text.clone())))
        }
        Value::String(text) => Expression::String(text.clone()),
        Value::Array(items) => Expression::Array(items.iter().map(expression).collect()),
        Value::Object(members) => Expression::Object(
            members
                .iter()
                .map(|(key, value)| (hcl::expr::ObjectKey::Expression(key.clone().into()), expression(value)))
                .collect(),
        ),
    }
}

struct Reader<'a> {
    text: &'a str,
    /// Variables as they stand in texts, and with their defaults.
    marked: Context<'static>,
    plain: Context<'static>,
    /// Each variable with what the environment's is asked for where it has none.
    defaults: Vec<(String, Option<String>)>,
    project: Project,
}

/// A target that is not looked at yet.
struct Found<'b> {
    name: String,
    attributes: Vec<(&'b str, &'b Expression)>,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        let (mut marked, mut plain) = (Context::new(), Context::new());
        for context in [&mut marked, &mut plain] {
            declare_functions(context);
        }
        Reader { text, marked, plain, defaults: Vec::new(), project: Project::default() }
    }

    fn remark(&mut self, line: usize, words: String) {
        // What is computed for each row of a matrix is told once.
        let remark = Remark { line, words };
        if !self.project.remarks.contains(&remark) {
            self.project.remarks.push(remark);
        }
    }

    fn read(mut self, body: &Body) -> Result<Project, String> {
        for structure in body {
            match structure {
                Structure::Block(block) if block.identifier() == "variable" => self.variable(block),
                Structure::Attribute(attribute) => {
                    // An attribute at the top is a variable that no environment changes.
                    match attribute.expr().evaluate(&self.plain) {
                        Ok(value) => {
                            self.marked.declare_var(attribute.key(), value.clone());
                            self.plain.declare_var(attribute.key(), value);
                        }
                        Err(error) => {
                            let line = line_of(self.text, &[attribute.key()]);
                            self.remark(
                                line,
                                format!("{}: it cannot be evaluated: {}", attribute.key(), one_line(&error)),
                            );
                        }
                    }
                }
                Structure::Block(_) => {}
            }
        }
        let mut found: Vec<Found<'_>> = Vec::new();
        for structure in body {
            let Structure::Block(block) = structure else { continue };
            let name = block.labels().first().map(|label| label.as_str().to_owned()).unwrap_or_default();
            match block.identifier() {
                "variable" => {}
                "target" => {
                    let attributes = block.body().attributes().map(|one| (one.key(), one.expr())).collect::<Vec<_>>();
                    // Two blocks of one name are one target, the later before the earlier.
                    match found.iter_mut().find(|known| known.name == name) {
                        Some(known) => {
                            known.attributes.retain(|(key, _)| !attributes.iter().any(|(other, _)| other == key));
                            known.attributes.extend(attributes);
                        }
                        None => found.push(Found { name, attributes }),
                    }
                }
                "group" => self.group(&name, block),
                other => {
                    let line = line_of(self.text, &[other, &name]);
                    self.remark(
                        line,
                        format!("{other} {name}: it has no counterpart; where it is used, what it gives is missing"),
                    );
                }
            }
        }
        for target in &found {
            self.target(target)?;
        }
        finish(&mut self.project, self.text);
        Ok(self.project)
    }

    fn variable(&mut self, block: &Block) {
        let Some(name) = block.labels().first().map(|label| label.as_str().to_owned()) else { return };
        let default = block.body().attributes().find(|one| one.key() == "default");
        let value = match default.map(|one| one.expr().evaluate(&self.plain)) {
            None => hcl::Value::Null,
            Some(Ok(value)) => value,
            Some(Err(error)) => {
                let line = line_of(self.text, &["variable", &name]);
                self.remark(line, format!("variable {name}: its default cannot be evaluated: {}", one_line(&error)));
                hcl::Value::Null
            }
        };
        for other in block.body().blocks().filter(|block| block.identifier() == "validation") {
            let line = line_of(self.text, &["variable", &name, other.identifier()]);
            self.remark(line, format!("variable {name}: its validation has no counterpart"));
        }
        // Without a default an argument that is only this variable is left to the Dockerfile's.
        let default = match &value {
            hcl::Value::Null => Some(None),
            hcl::Value::String(text) => Some(Some(text.clone())),
            hcl::Value::Number(number) => Some(Some(number.to_string())),
            hcl::Value::Bool(yes) => Some(Some(yes.to_string())),
            hcl::Value::Array(_) | hcl::Value::Object(_) => None,
        };
        // A default that would end its own place cannot stand there.
        let is_safe = |text: &String| !text.contains(['$', '}', '\\', '"', '\'']);
        let default = default.filter(|default| default.as_ref().is_none_or(is_safe));
        match default {
            Some(default) => {
                self.marked.declare_var(name.clone(), format!("{OPEN}{name}{CLOSE}"));
                self.defaults.push((name.clone(), default));
            }
            None => {
                let line = line_of(self.text, &["variable", &name]);
                self.remark(
                    line,
                    format!("variable {name}: it is taken with its default, whatever the environment says"),
                );
                self.marked.declare_var(name.clone(), value.clone());
            }
        }
        let plain = if value.is_null() { hcl::Value::from("") } else { value };
        self.plain.declare_var(name, plain);
    }

    fn group(&mut self, name: &str, block: &Block) {
        let targets = block.body().attributes().find(|one| one.key() == "targets");
        let members = targets.and_then(|one| self.value(one.expr(), &[], &["group", name, "targets"], false));
        let members = members.map(|value| convert::texts(&value)).unwrap_or_default();
        match name {
            "default" => self.project.default = members,
            name => self.project.groups.push((name.to_owned(), members)),
        }
    }

    /// What an expression comes to, each member and item of it by itself. With `may_ask` variables stay in texts.
    fn value(
        &mut self,
        expression: &Expression,
        extra: &[(String, hcl::Value)],
        place: &[&str],
        may_ask: bool,
    ) -> Option<Value> {
        match expression {
            Expression::Array(items) => {
                Some(Value::Array(items.iter().filter_map(|item| self.value(item, extra, place, may_ask)).collect()))
            }
            Expression::Object(members) => {
                let mut all = serde_json::Map::new();
                for (key, value) in members {
                    let key = match key {
                        hcl::expr::ObjectKey::Identifier(name) => Some(name.as_str().to_owned()),
                        hcl::expr::ObjectKey::Expression(key) => {
                            self.value(key, extra, place, false).and_then(|key| convert::text(&key))
                        }
                        _ => None,
                    };
                    let Some(key) = key else { continue };
                    let within = [place, &[key.as_str()]].concat();
                    if let Some(value) = self.value(value, extra, &within, may_ask) {
                        all.insert(key, value);
                    }
                }
                Some(Value::Object(all))
            }
            Expression::Parenthesis(inner) => self.value(inner, extra, place, may_ask),
            _ => self.scalar(expression, extra, place, may_ask),
        }
    }

    fn scalar(
        &mut self,
        expression: &Expression,
        extra: &[(String, hcl::Value)],
        place: &[&str],
        may_ask: bool,
    ) -> Option<Value> {
        let is_marked = may_ask && is_simple(expression);
        let mut context = if is_marked { self.marked.clone() } else { self.plain.clone() };
        for (name, value) in extra {
            context.declare_var(name.as_str(), value.clone());
        }
        match expression.evaluate(&context) {
            Ok(value) => {
                let value = serde_json::to_value(&value).ok()?;
                if may_ask && !is_marked && self.mentions_variable(expression) {
                    let words = format!(
                        "{}: it is computed once, with the defaults of its variables: {value}",
                        place.join(" ")
                    );
                    self.remark(line_of(self.text, place), words);
                }
                Some(self.unmarked(value))
            }
            Err(error) => {
                let words =
                    format!("{}: it cannot be evaluated and is left out: {}", place.join(" "), one_line(&error));
                self.remark(line_of(self.text, place), words);
                None
            }
        }
    }

    fn mentions_variable(&self, expression: &Expression) -> bool {
        let text = hcl::format::to_string(expression).unwrap_or_default();
        self.defaults.iter().any(|(name, _)| line_of(&text, &[name]) > 0)
    }

    /// The same with variables as a project file has them, and its other dollars as themselves.
    fn unmarked(&self, value: Value) -> Value {
        match value {
            Value::String(text) => {
                let mut parts = text.split(OPEN);
                let mut out = literal(parts.next().unwrap_or_default());
                for part in parts {
                    let (name, rest) = part.split_once(CLOSE).unwrap_or((part, ""));
                    let default =
                        self.defaults.iter().find(|(other, _)| other == name).and_then(|(_, default)| default.as_ref());
                    out += &match default {
                        Some(default) => format!("${{{name}:-{default}}}"),
                        None => format!("${{{name}}}"),
                    };
                    out += &literal(rest);
                }
                Value::String(out)
            }
            Value::Array(items) => Value::Array(items.into_iter().map(|item| self.unmarked(item)).collect()),
            Value::Object(members) => {
                Value::Object(members.into_iter().map(|(key, value)| (key, self.unmarked(value))).collect())
            }
            other => other,
        }
    }

    fn target(&mut self, found: &Found<'_>) -> Result<(), String> {
        let get =
            |wanted: &str| found.attributes.iter().find(|(key, _)| *key == wanted).map(|(_, expression)| *expression);
        let name = found.name.as_str();
        let Some(matrix) = get("matrix") else {
            let draft = self.draft(found, name, &[]);
            self.project.targets.push((name.to_owned(), draft));
            return Ok(());
        };
        let place = ["target", name, "matrix"];
        let axes: Vec<(String, Vec<hcl::Value>)> = match matrix.evaluate(&self.plain) {
            Ok(hcl::Value::Object(axes)) => axes
                .into_iter()
                .map(|(axis, values)| match values {
                    hcl::Value::Array(values) => (axis, values),
                    other => (axis, vec![other]),
                })
                .collect(),
            Ok(_) => return Err(format!("target {name}: its matrix is no map of lists")),
            Err(error) => return Err(format!("target {name}: its matrix cannot be evaluated: {}", one_line(&error))),
        };
        let mut rows: Vec<Vec<(String, hcl::Value)>> = vec![Vec::new()];
        for (axis, values) in &axes {
            let with = |row: &Vec<(String, hcl::Value)>, value: &hcl::Value| {
                [row.clone(), vec![(axis.clone(), value.clone())]].concat()
            };
            rows = rows.iter().flat_map(|row| values.iter().map(move |value| with(row, value))).collect();
            if rows.len() > MAX_TARGETS {
                return Err(format!("target {name}: its matrix has more than {MAX_TARGETS} rows"));
            }
        }
        let mut members = Vec::with_capacity(rows.len());
        for row in &rows {
            let own = match get("name") {
                Some(expression) => self
                    .value(expression, row, &["target", name, "name"], false)
                    .and_then(|value| convert::text(&value)),
                // As bake has it without a name of its own.
                None => Some(
                    [name.to_owned()]
                        .into_iter()
                        .chain(row.iter().map(|(_, value)| value.to_string().replace('"', "")))
                        .collect::<Vec<_>>()
                        .join("-"),
                ),
            };
            let Some(own) = own else { continue };
            let own = own.replace(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_'), "-");
            let draft = self.draft(found, &own, row);
            members.push(own.clone());
            self.project.targets.push((own, draft));
        }
        if rows.is_empty() {
            self.remark(line_of(self.text, &place), format!("target {name}: its matrix is empty"));
        }
        self.project.groups.push((name.to_owned(), members));
        Ok(())
    }

    fn draft(&mut self, found: &Found<'_>, name: &str, row: &[(String, hcl::Value)]) -> Draft {
        let mut values: Vec<(&str, Value)> = Vec::new();
        for (key, expression) in &found.attributes {
            if matches!(*key, "matrix" | "name") {
                continue;
            }
            let may_ask = !matches!(*key, "inherits" | "entitlements" | "no-cache-filter" | "description");
            let value = self.value(expression, row, &["target", &found.name, key], may_ask);
            values.extend(value.map(|value| (*key, value)));
        }
        let (text, target) = (self.text, found.name.clone());
        let line = |attribute: &str| line_of(text, &["target", &target, attribute]);
        let called = format!("target {name}");
        let mut taker = Taker { draft: Draft::default(), remarks: Vec::new(), line: &line, called: &called };
        for (key, value) in &values {
            taker.take(key, value);
        }
        let Taker { mut draft, remarks, .. } = taker;
        draft.hidden = name.starts_with('_');
        // One remark for all rows of a matrix.
        for remark in remarks {
            if !self.project.remarks.iter().any(|known| known.line == remark.line && !row.is_empty()) {
                self.project.remarks.push(remark);
            }
        }
        draft
    }
}

/// Whether an expression only puts values together, so that a variable in it can stay one.
fn is_simple(expression: &Expression) -> bool {
    match expression {
        Expression::Null | Expression::Bool(_) | Expression::Number(_) | Expression::String(_) => true,
        Expression::Variable(_) | Expression::Traversal(_) => true,
        Expression::Array(items) => items.iter().all(is_simple),
        Expression::Object(members) => members.iter().all(|(_, value)| is_simple(value)),
        Expression::Parenthesis(inner) => is_simple(inner),
        Expression::TemplateExpr(template) => Template::from_expr(template).is_ok_and(|template| {
            template.elements().iter().all(|element| match element {
                Element::Literal(_) => true,
                Element::Interpolation(interpolation) => is_simple(&interpolation.expr),
                Element::Directive(_) => false,
            })
        }),
        _ => false,
    }
}

fn one_line(error: &impl std::fmt::Display) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

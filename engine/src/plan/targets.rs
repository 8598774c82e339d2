//! Which stages a target means: a stage, branches of one, what a TARGET lists; by default the last stage, and every CHECK.
//!
//! Pure. A name that is nothing here is left to the plan, which says what stages there are.

use kiln_dsl::ast::{Command, Document, Word};
use kiln_dsl::diagnostic::Diagnostic;
use kiln_dsl::extended::branch_name::{BranchName, Choice};
use kiln_dsl::suggest;

/// What is to be built.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Goals {
    /// The stages, by their names or numbers; `None` is the last one.
    pub stages: Vec<Option<String>>,
    /// The names of those of the file that must succeed and are no image, in lower case.
    pub checks: Vec<String>,
}

/// The names of a document's stages, `None` for one without.
fn names(document: &Document) -> Vec<Option<&str>> {
    let all = document.instructions.iter().filter_map(|instruction| match &instruction.command {
        Command::From(from) => Some(from.name.as_ref().map(|name| name.value.as_str())),
        _ => None,
    });
    all.collect()
}

/// The values of a branch, by its name.
fn values(name: &str) -> Option<(String, Vec<String>)> {
    let name = BranchName::parse(name)?;
    let value = |choice: Choice| match choice {
        Choice::One(value) => Some(value),
        Choice::All => None,
    };
    Some((name.stage, name.values.into_iter().map(value).collect::<Option<_>>()?))
}

/// The branches that `wanted` means among `names`.
fn branches(wanted: &BranchName, names: &[Option<&str>]) -> Vec<String> {
    let is_meant = |name: &&str| {
        values(name).is_some_and(|(stage, values)| stage.eq_ignore_ascii_case(&wanted.stage) && wanted.matches(&values))
    };
    names.iter().flatten().copied().filter(is_meant).map(str::to_owned).collect()
}

/// What `target` means in a document whose alternatives are decided and whose matrices are unrolled.
///
/// # Errors
/// A TARGET that names no stage, itself, or is called as a stage is; a CHECK that names none; nothing to build.
pub fn goals(document: &Document, target: Option<&str>) -> Result<Goals, Diagnostic> {
    let resolver = Resolver { document, names: names(document) };
    for declared in &document.targets {
        let name = &declared.name;
        let stem = |other: &str| other.split('[').next().is_some_and(|stem| stem.eq_ignore_ascii_case(&name.value));
        if resolver.names.iter().flatten().any(|other| stem(other)) {
            let message = format!("{} is the name of a stage already", name.value);
            let error = Diagnostic::error("InvalidTarget", name.span, message);
            return Err(error.with_help("give the TARGET another name"));
        }
    }
    let mut checks = Vec::new();
    for check in &document.checks {
        // A stage that was not taken needs no check.
        if let Ok(found) = resolver.stages(check, &mut Vec::new()) {
            checks.extend(found.into_iter().map(|name| name.to_lowercase()));
        } else if target.is_none() {
            resolver.stages(check, &mut Vec::new())?;
        }
    }
    let stages = match target {
        None => resolver.default(&checks)?,
        Some(target) => resolver.named(target)?,
    };
    Ok(Goals { stages, checks })
}

struct Resolver<'a> {
    document: &'a Document,
    names: Vec<Option<&'a str>>,
}

impl Resolver<'_> {
    /// What is meant by a target as it is typed.
    fn named(&self, target: &str) -> Result<Vec<Option<String>>, Diagnostic> {
        let declared = self.document.targets.iter().find(|one| one.name.value.eq_ignore_ascii_case(target));
        if let Some(declared) = declared {
            let found = self.stages(&declared.name, &mut Vec::new())?;
            return Ok(found.into_iter().map(Some).collect());
        }
        let several = BranchName::parse(target).filter(BranchName::is_pattern);
        let found = several.map(|wanted| branches(&wanted, &self.names)).unwrap_or_default();
        // Without branches it is a stage that is not there, and told as such.
        Ok(if found.is_empty() { vec![Some(target.to_owned())] } else { found.into_iter().map(Some).collect() })
    }

    /// The last stage that is no check, all its branches if it has some, and the checks.
    fn default(&self, checks: &[String]) -> Result<Vec<Option<String>>, Diagnostic> {
        let is_check = |name: &&str| checks.contains(&name.to_lowercase());
        let last = self.names.iter().rposition(|name| name.as_ref().is_none_or(|name| !is_check(name)));
        let Some(last) = last else {
            let Some(word) = self.document.checks.first() else { return Ok(vec![None]) };
            let message = "every stage is a CHECK, so there is no image to build";
            let error = Diagnostic::error("InvalidTarget", word.span, message);
            return Err(error.with_help("add a stage that is an image, or build the checks with --target"));
        };
        let mut stages: Vec<Option<String>> = match self.names[last].and_then(values) {
            Some((stage, values)) => {
                let all = BranchName { stage, values: vec![Choice::All; values.len()] };
                branches(&all, &self.names).into_iter().map(Some).collect()
            }
            None if last + 1 == self.names.len() => vec![None],
            None => vec![Some(self.names[last].map_or_else(|| last.to_string(), str::to_owned))],
        };
        for name in self.names.iter().flatten().filter(|name| is_check(name)) {
            if !stages.iter().flatten().any(|other| other == name) {
                stages.push(Some((*name).to_owned()));
            }
        }
        Ok(stages)
    }

    /// The stages that a word of TARGET or CHECK means; `open` are the targets that it stands in.
    fn stages(&self, word: &Word, open: &mut Vec<String>) -> Result<Vec<String>, Diagnostic> {
        let name = word.value.to_lowercase();
        let error = |message: String| Diagnostic::error("InvalidTarget", word.span, message);
        if let Some(target) = self.document.targets.iter().find(|one| one.name.value.to_lowercase() == name) {
            if open.contains(&name) {
                return Err(error(format!("the target {} is made of itself", word.value)).with_help("remove it here"));
            }
            open.push(name);
            let mut all: Vec<String> = Vec::new();
            for member in &target.members {
                for stage in self.stages(member, open)? {
                    if !all.contains(&stage) {
                        all.push(stage);
                    }
                }
            }
            open.pop();
            return Ok(all);
        }
        if let Some(wanted) = BranchName::parse(&word.value) {
            let found = branches(&wanted, &self.names);
            if !found.is_empty() {
                return Ok(found);
            }
        }
        let found = self.names.iter().flatten().find(|other| other.eq_ignore_ascii_case(&word.value));
        found.map(|name| vec![(*name).to_owned()]).ok_or_else(|| {
            let targets = self.document.targets.iter().map(|target| target.name.value.as_str());
            let near = suggest::nearest(&word.value, self.names.iter().flatten().copied().chain(targets));
            error(format!("no stage and no target is called {}", word.value)).with_help(match near {
                Some(near) => format!("did you mean {near}?"),
                None => "name stages of this file; all branches of one are stage[*]".to_owned(),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Options, Unroll, choose};
    use kiln_dsl::extended::Dialect;
    use kiln_dsl::parser;
    use kiln_dsl::platform::Platform;

    fn resolved(text: &str, target: Option<&str>) -> String {
        let parsed = parser::parse_as(text, Dialect::Kiln);
        assert!(!parsed.has_errors(), "{:?}", parsed.diagnostics);
        let document = choose(&parsed.document, &Options::new(Platform::host()), Unroll::All).expect("a document");
        match goals(&document, target) {
            Ok(goals) => {
                let names: Vec<String> =
                    goals.stages.into_iter().map(|name| name.unwrap_or_else(|| "(last)".to_owned())).collect();
                format!("{} checking {}", names.join(" "), goals.checks.join(" "))
            }
            Err(error) => format!("{} [{}]", error.message, error.help.unwrap_or_default()),
        }
    }

    const FILE: &str = "FROM scratch AS app\nFROM scratch AS test FOR X IN 1 2 FOR Y IN a b\nFROM scratch AS lint\n\
                        TARGET all = app + tests + lint\nTARGET tests = test[*] + test[1,a]\nTARGET some = test[*,b]\n";

    #[test]
    fn targets_mean_stages_branches_and_each_other() {
        for (target, expected) in [
            (None, "(last) checking "),
            (Some("ALL"), "app test[1,a] test[1,b] test[2,a] test[2,b] lint checking "),
            (Some("some"), "test[1,b] test[2,b] checking "),
            (Some("test[2,*]"), "test[2,a] test[2,b] checking "),
            (Some("test[1,a]"), "test[1,a] checking "),
            (Some("none[*]"), "none[*] checking "),
            (Some("2"), "2 checking "),
        ] {
            assert_eq!(resolved(FILE, target), expected, "{target:?}");
        }
    }

    #[test]
    fn checks_belong_to_every_build_that_names_nothing() {
        let text = format!("{FILE}CHECK lint test[1,*]\n");
        let checked = "checking lint test[1,a] test[1,b]";
        assert_eq!(resolved(&text, None), format!("test[1,a] test[1,b] test[2,a] test[2,b] lint {checked}"));
        assert_eq!(resolved(&text, Some("app")), "app checking lint test[1,a] test[1,b]");
        let early = "FROM scratch AS lint\nFROM scratch\nFROM scratch AS more\nCHECK lint more\n";
        assert_eq!(resolved(early, None), "1 lint more checking lint more");
    }

    #[test]
    fn what_a_target_cannot_be_is_told() {
        let all = [
            ("TARGET x = nothing\n", Some("x")),
            ("TARGET x = ap\n", Some("x")),
            ("TARGET x = y\nTARGET y = app + x\n", Some("x")),
            ("TARGET x = test[3,*]\n", Some("x")),
            ("TARGET app = lint\n", None),
            ("TARGET test = lint\n", None),
            ("CHECK nothing\n", None),
            ("CHECK app lint test[*]\n", None),
        ];
        let texts: Vec<String> = all
            .iter()
            .map(|(more, target)| {
                let base = "FROM scratch AS app\nFROM scratch AS test FOR X IN 1 FOR Y IN a\nFROM scratch AS lint\n";
                format!("{}{}", more, resolved(&format!("{base}{more}"), *target))
            })
            .collect();
        insta::assert_snapshot!(texts.join("\n"));
    }
}

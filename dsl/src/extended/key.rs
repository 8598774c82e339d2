//! `KEY name = expr`: a key expression gets a name.
//!
//! Knows nothing of other names; whether one is bound twice is asked where all are known.

use super::Line;
use crate::ast::KeyBinding;
use crate::diagnostic::Diagnostic;
use crate::key;
use crate::span::Spanned;

/// Reads the arguments, which begin at `start` in the line. A name whose expression is wrong is given back without
/// one, so that its uses are no errors too.
pub(crate) fn read(line: &Line, start: usize, out: &mut Vec<Diagnostic>) -> Option<KeyBinding> {
    let text = &line.text[start..];
    let begin = start + (text.len() - text.trim_start().len());
    let text = text.trim_start();
    let end = text.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(text.len());
    let name = Spanned::new(text[..end].to_owned(), line.place(begin, begin + end));
    let error = |code, span, message: String| Diagnostic::error(code, span, message);
    if name.value.is_empty() {
        let message = "KEY needs a name".to_owned();
        out.push(error("InvalidKeyName", line.span, message).with_help("write KEY name = …"));
        return None;
    }
    if key::is_reserved(&name.value) {
        let message = format!("{} is an atom of every key, and no name", name.value);
        out.push(error("InvalidKeyName", name.span, message).with_help("give the key another name"));
        return None;
    }
    if !key::is_name(&name.value) {
        let message = format!("{:?} is no name of a key", name.value);
        let help = "a name is a letter or _, then letters, digits and _";
        out.push(error("InvalidKeyName", name.span, message).with_help(help));
        return None;
    }
    let rest = text[end..].trim_start();
    let Some(value) = rest.strip_prefix('=') else {
        let at = line.text.len() - rest.len();
        let message = format!("a = is missing behind KEY {}", name.value);
        let span = line.place(at, line.text.len().max(at));
        let help = format!("write KEY {} = …", name.value);
        out.push(error("InvalidKey", span, message).with_help(help));
        return Some(KeyBinding { name, expr: None, span: line.span });
    };
    let shift = line.text.len() - value.len();
    let expr = match key::parse(value, &|from, to| line.place(shift + from, shift + to)) {
        Ok(expr) => Some(expr),
        Err(diagnostic) => {
            out.push(*diagnostic);
            None
        }
    };
    Some(KeyBinding { name, expr, span: line.span })
}

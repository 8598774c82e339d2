//! The programs that a piece of shell text calls, as far as they can be seen without running it.
//!
//! Not a shell: quotes hold words together, operators part commands, nothing is expanded.

/// Words that stand before the program.
const PREFIXES: [&str; 12] =
    ["sudo", "exec", "time", "nice", "env", "then", "do", "else", "if", "while", "!", "command"];

/// The commands in `text`, each as its words, assignments and the like before the program left out.
pub(super) fn commands(text: &str) -> Vec<Vec<&str>> {
    let mut all = Vec::new();
    let mut words: Vec<&str> = Vec::new();
    let mut start = None;
    let mut quote = None;
    let mut is_comment = false;
    for (at, c) in text.char_indices().chain([(text.len(), '\n')]) {
        if is_comment && c != '\n' {
            continue;
        }
        is_comment = false;
        if let Some(open) = quote {
            if c == open {
                quote = None;
            }
            continue;
        }
        if c == '\'' || c == '"' {
            quote = Some(c);
            start.get_or_insert(at);
            continue;
        }
        let ends_command = matches!(c, '\n' | ';' | '&' | '|' | '(' | ')' | '`');
        if ends_command || c.is_whitespace() || (c == '#' && start.is_none()) {
            if let Some(begin) = start.take() {
                words.push(text[begin..at].trim_matches(['"', '\'']));
            }
            is_comment = c == '#';
            if ends_command {
                push(&mut words, &mut all);
            }
        } else {
            start.get_or_insert(at);
        }
    }
    // A quote that never closes holds the rest of the text.
    if let Some(begin) = start {
        words.push(&text[begin..]);
    }
    push(&mut words, &mut all);
    all
}

/// Ends a command: what stands before its program is left out.
fn push<'a>(words: &mut Vec<&'a str>, all: &mut Vec<Vec<&'a str>>) {
    let command = std::mem::take(words);
    let is_before = |word: &&str| PREFIXES.contains(word) || is_assignment(word);
    if let Some(program) = command.iter().position(|word| !is_before(word)) {
        all.push(command[program..].to_vec());
    }
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=')
        .is_some_and(|(name, _)| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
}

/// The program's name without its directories.
pub(super) fn program<'a>(command: &[&'a str]) -> &'a str {
    command.first().map_or("", |word| word.rsplit('/').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_behind_assignments_and_operators() {
        let text = "set -ex; A=1 B=2 npm ci && (cd x || exit 1) | sudo tee \"a b\" # npm x\nif ! /usr/bin/test -f y; then :; fi";
        let found: Vec<String> = commands(text).iter().map(|command| command.join(",")).collect();
        assert_eq!(found, ["set,-ex", "npm,ci", "cd,x", "exit,1", "tee,a b", "/usr/bin/test,-f,y", ":", "fi"]);
        assert_eq!(program(&commands(text)[5]), "test");
        assert_eq!(commands("echo 'a; b"), [["echo", "'a; b"]]);
        assert_eq!(commands(""), [[""; 0]; 0]);
    }
}

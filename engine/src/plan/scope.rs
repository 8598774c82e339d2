//! The variables in sight of an instruction, in the order in which they were set.
//!
//! As in BuildKit, ENV and ARG write to one list: what was set last decides. Pure.

use kiln_dsl::expand::Variables;

/// An ordered list of variables.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Scope {
    pairs: Vec<(String, String)>,
}

impl Scope {
    /// Sets a variable; one that was set before moves to the end.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.pairs.retain(|(other, _)| other != name);
        self.pairs.push((name.to_owned(), value.into()));
    }

    /// The variables in their order.
    pub fn pairs(&self) -> &[(String, String)] {
        &self.pairs
    }
}

impl Variables for Scope {
    fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

/// Sets `name=value` in a list of `NAME=value` texts, in place where it is there already, as an
/// image's configuration keeps it.
pub fn set_in_config(env: &mut Vec<String>, name: &str, value: &str) {
    let text = format!("{name}={value}");
    match env.iter_mut().find(|entry| entry.split_once('=').map_or(entry.as_str(), |(other, _)| other) == name) {
        Some(entry) => *entry = text,
        None => env.push(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_setting_decides_and_a_configuration_keeps_its_order() {
        let mut scope = Scope::default();
        for (name, value) in [("A", "1"), ("B", "2"), ("A", "3")] {
            scope.set(name, value);
        }
        assert_eq!(scope.get("A"), Some("3"));
        assert_eq!(scope.pairs()[0].0, "B");
        let mut env = vec!["A=1".to_owned(), "B".to_owned()];
        for (name, value) in [("A", "2"), ("B", "x"), ("C", "y=z")] {
            set_in_config(&mut env, name, value);
        }
        assert_eq!(env, ["A=2", "B=x", "C=y=z"]);
    }
}

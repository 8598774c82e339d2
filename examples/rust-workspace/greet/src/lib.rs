//! Says hello.

/// The greeting of somebody.
pub fn greeting(name: &str) -> String {
    format!("Hello, {name}!")
}

#[test]
fn everybody_is_greeted_by_name() {
    assert_eq!(greeting("kiln"), "Hello, kiln!");
}

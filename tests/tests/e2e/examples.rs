//! The examples build as they stand.

use kiln_tests::{Kiln, has_tool};
use std::path::{Path, PathBuf};

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name)
}

#[test]
fn hello_builds_without_a_registry_and_greets_everybody_once() {
    let Some(_compiler) = has_tool("cc") else { return };
    let kiln = Kiln::new();
    let build = kiln.build(["-t".as_ref(), "hello".as_ref(), example("hello").as_os_str()]).ok();
    assert_eq!(build.log(), "Hello, kiln!\nHello, world!\n");
    assert_eq!(build.finished("counts")["steps"], 12);
    let again = kiln.build([example("hello")]).ok();
    assert_eq!(again.ran_steps(), Vec::<String>::new());
}

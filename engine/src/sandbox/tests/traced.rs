//! What is seen of a step that looks at things in all sorts of ways.

use super::world::World;
use crate::sandbox::{Cancel, Lower, Spec, Stack, Tracer, run_traced};
use crate::trace::Seen;
use std::collections::BTreeMap;

/// Watches the root, of whose layers nothing is known.
fn watched(spec: &Spec) -> Tracer {
    let lowers = spec.lowers.iter().map(|dir| Lower { dirs: vec![dir.clone()], listing: None }).collect();
    Tracer::new(&[(Stack::Root, lowers, false)]).unwrap()
}

/// Runs a script and gives what it printed and what it looked at.
fn traced(world: &World, spec: &Spec) -> (String, BTreeMap<String, Seen>) {
    let spec = world.stubbed(spec);
    let tracer = watched(&spec);
    let mut printed = Vec::new();
    let mut take = |_, bytes: &[u8]| printed.extend_from_slice(bytes);
    let (_, traced) = run_traced(&spec, Some(tracer), &mut take, &Cancel::new().unwrap()).unwrap();
    let (_, observed) = traced.unwrap().stacks.pop().unwrap();
    assert_eq!(observed.incomplete, None);
    let seen = observed.seen.into_iter().map(|seen| (String::from_utf8_lossy(&seen.path).into_owned(), seen));
    (String::from_utf8_lossy(&printed).into_owned(), seen.collect())
}

#[test]
fn reading_listing_and_missing_are_told_apart() {
    let Some(world) = World::new() else { return };
    let (printed, seen) = traced(&world, &world.spec("cat /data/old; echo /data/sub/*; test -e /data/none; echo $?"));
    assert_eq!(printed, "old\n/data/sub/deep\n1\n");
    assert!(seen["data/old"].read);
    assert!(seen["data/sub"].listed && !seen["data"].listed);
    assert!(seen.contains_key("data/none") && seen.contains_key("bin/sh") && seen["bin/busybox"].read);
    assert!(!seen.contains_key("data/sub/deep"), "a listing looks at no file");
    assert!(!seen.contains_key("work"));
}

#[test]
fn talking_to_others_is_told_and_talking_to_oneself_is_not() {
    let Some(world) = World::new() else { return };
    let networked = |script: &str| {
        let spec = world.stubbed(&world.spec(script));
        let tracer = watched(&spec);
        let (_, traced) = run_traced(&spec, Some(tracer), &mut |_, _| {}, &Cancel::new().unwrap()).unwrap();
        traced.unwrap().reached.may_be_others()
    };
    assert!(!networked("echo hello"));
    assert!(!networked("busybox wget -T 1 -O - http://127.0.0.1:9/"));
    assert!(networked("busybox nslookup example.invalid 127.0.0.1"), "a resolver asks others");
    assert!(!networked("busybox ping -c 1 -W 1 127.0.0.1"));
}

#[test]
fn all_is_seen_of_a_program_that_asks_again_and_again_while_the_processors_are_busy() {
    const FILES: usize = 400;
    let Some(world) = World::new() else { return };
    let many = tempfile::tempdir().unwrap();
    std::fs::create_dir(many.path().join("many")).unwrap();
    for number in 0..FILES {
        std::fs::write(many.path().join(format!("many/{number}")), format!("{number}\n")).unwrap();
    }
    let busy = "while :; do :; done & ".repeat(2);
    for before in ["", &busy] {
        let script = format!("{before} cat /many/* | wc -l; for n in /many/*; do test -e $n.none; done");
        let mut spec = world.spec(&script);
        spec.lowers.insert(0, many.path().to_path_buf());
        let (printed, seen) = traced(&world, &spec);
        assert_eq!(printed.trim(), FILES.to_string());
        let read =
            |number: usize| seen[&format!("many/{number}")].read && seen.contains_key(&format!("many/{number}.none"));
        assert!((0..FILES).all(read));
    }
}

//! What steps are lent: caches that begin with something, and rights beyond the usual.

use kiln_tests::{Busybox, Kiln, Project};

#[test]
fn a_cache_begins_with_what_its_seed_holds_and_keeps_what_steps_leave() {
    let kiln = Kiln::new();
    let Some(()) = Busybox::import(&kiln) else { return };
    let dockerfile = "FROM busybox AS seed\nRUN mkdir /s && echo seeded > /s/a\n\
                      FROM busybox\nARG N\n\
                      RUN --mount=type=cache,target=/c,id=k,from=seed,source=/s cat /c/* ; echo run $N > /c/b\n";
    let project = Project::new(&[("Dockerfile", dockerfile)]);
    let path = project.path().to_str().unwrap();
    let first = kiln.build(["--build-arg", "N=1", path]).ok();
    assert_eq!(first.log(), "seeded\n");
    let second = kiln.build(["--build-arg", "N=2", path]).ok();
    assert_eq!(second.log(), "seeded\nrun 1\n");
    // What a cache holds is in no layer.
    assert_eq!(kiln.build(["--build-arg", "N=2", path]).ok().ran_steps(), [] as [String; 0]);
}

#[test]
fn rights_beyond_the_usual_are_given_only_where_both_sides_say_so() {
    let kiln = Kiln::new();
    let Some(()) = Busybox::import(&kiln) else { return };
    let said = |dockerfile: &str, allow: &[&str]| {
        let project = Project::new(&[("Dockerfile", dockerfile)]);
        let built = kiln.build([allow, &["--no-cache", project.path().to_str().unwrap()]].concat());
        (built.ran.code, built.log() + &built.ran.stderr)
    };
    const CAPABILITIES: &str = "grep CapEff /proc/self/status";
    let insecure = format!("FROM busybox\nRUN --security=insecure {CAPABILITIES}\n");
    let sandboxed = format!("FROM busybox\nRUN --security=sandbox {CAPABILITIES}\n");
    let (code, log) = said(&insecure, &[]);
    assert!(code == Some(1) && log.contains("--allow security.insecure"), "{log}");
    let (code, wide) = said(&insecure, &["--allow", "security.insecure"]);
    assert_eq!(code, Some(0), "{wide}");
    // An entitlement alone widens nothing.
    let (code, narrow) = said(&sandboxed, &["--allow", "security.insecure"]);
    assert_eq!(code, Some(0), "{narrow}");
    let mask = |text: &str| u64::from_str_radix(text.split_whitespace().nth(1).unwrap_or_default(), 16).unwrap_or(0);
    assert!(mask(&wide).count_ones() > mask(&narrow).count_ones() && mask(&narrow) > 0, "{wide} {narrow}");
    let (code, log) = said("FROM busybox\nRUN --network=host true\n", &[]);
    assert!(code == Some(1) && log.contains("--allow network.host"), "{log}");
    let (code, log) = said("FROM busybox\nRUN --network=host true\n", &["--allow", "network.host"]);
    assert_eq!(code, Some(0), "{log}");
    let (code, log) = said("FROM busybox\nRUN --device=nvidia.com/gpu true\n", &[]);
    assert!(code == Some(1) && log.contains("--device"), "{log}");
}

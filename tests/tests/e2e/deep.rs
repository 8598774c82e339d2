//! Stages of more layers than the kernel stacks.

use kiln_tests::{Busybox, Kiln, Project};
use std::fmt::Write as _;

/// More than the 500 of an overlay.
const LAYERS: usize = 520;

#[test]
fn a_step_runs_on_more_layers_than_the_kernel_stacks_and_so_does_a_container() {
    let kiln = Kiln::new();
    if Busybox::import(&kiln).is_none() {
        return;
    }
    let mut text = "FROM busybox\n".to_owned();
    for number in 0..LAYERS {
        writeln!(text, "COPY <<f /d/f{number}\n{number}\nf").unwrap();
    }
    let run = "RUN ls /d | wc -l && cat /d/f0 && rm /d/f0 && echo new > /d/f1";
    let text = format!("{text}{run}\nRUN ls /d | wc -l && cat /d/f1 /d/f519\n");
    let project = Project::new(&[("Dockerfile", &text)]);
    let path = project.path().to_str().unwrap();
    for trace in ["--trace=auto", "--trace=off"] {
        let built = kiln.build(["--no-cache", trace, "-t", "deep", path]).ok();
        assert_eq!(built.log(), "520\n0\n519\nnew\n519\n", "{trace}");
    }
    let ran = kiln.run(["run", "deep", "sh", "-c", "ls /d | wc -l; cat /d/f1; test -e /d/f0 || echo gone"]).ok();
    assert_eq!(ran.stdout, "519\nnew\ngone\n");
}

#[test]
fn an_unchanged_stage_of_eight_hundred_layers_is_a_hit_and_an_edit_runs_what_it_concerns() {
    let kiln = Kiln::new();
    let file = |edited: usize| {
        let mut text = "FROM scratch\n".to_owned();
        for number in 0..400 {
            let content = if number == edited { "edited" } else { "first" };
            writeln!(text, "WORKDIR /w/d{number}\nCOPY <<f /f/{number}\n{content}\nf").unwrap();
        }
        text
    };
    let project = Project::new(&[("Dockerfile", &file(usize::MAX))]);
    let path = project.path().to_str().unwrap();
    assert_eq!(kiln.build([path]).ok().ran_steps().len(), 800);
    assert!(kiln.build([path]).ok().ran_steps().is_empty());
    project.write("Dockerfile", &file(10));
    assert_eq!(kiln.build([path]).ok().ran_steps().len(), 1);
}

//! Named contexts, in the place of images and stages.

use kiln_tests::{Busybox, Kiln, Project};
use std::fs;

#[test]
fn a_name_may_stand_for_a_directory_an_image_a_layout_or_a_stage() {
    let kiln = Kiln::new();
    let Some(()) = Busybox::import(&kiln) else { return };
    let library = Project::new(&[("lib.txt", "lib 1"), ("hidden", "h"), (".dockerignore", "hidden\n")]);
    let base = Project::new(&[("Dockerfile", "FROM scratch\nCOPY <<f /marker\nlayout\nf\n")]);
    let layout = kiln.scratch().join("layout");
    let output = format!("type=oci,tar=false,dest={}", layout.display());
    let _built = kiln.build(["-o", &output, base.path().to_str().unwrap()]).ok();
    let dockerfile = "FROM nowhere/at-all AS taken\nFROM scratch AS other\nCOPY <<f /other\nother stage\nf\n\
                      FROM scratch AS replaced\nCOPY missing /\n\
                      FROM scratch\nCOPY --from=lib . /lib/\nCOPY --from=taken /marker /taken\n\
                      COPY --from=image /bin/busybox /b\nCOPY --from=replaced /other /r\n";
    let project = Project::new(&[("Dockerfile", dockerfile)]);
    let out = kiln.scratch().join("out");
    let output = format!("type=local,dest={}", out.display());
    let contexts = [
        format!("lib={}", library.path().display()),
        format!("nowhere/at-all=oci-layout://{}", layout.display()),
        "image=docker-image://busybox".to_owned(),
        "replaced=target:other".to_owned(),
    ];
    let mut args: Vec<&str> = contexts.iter().flat_map(|context| ["--build-context", context]).collect();
    args.extend(["-o", &output, project.path().to_str().unwrap()]);
    let _built = kiln.build(&args).ok();
    let read = |name: &str| fs::read_to_string(out.join(name)).unwrap();
    assert_eq!([read("lib/lib.txt"), read("taken"), read("r")], ["lib 1", "layout\n", "other stage\n"]);
    assert!(out.join("b").is_file() && !out.join("lib/hidden").exists());
    assert!(kiln.build(&args).ok().ran_steps().is_empty());
    library.write("lib.txt", "lib 2");
    let ran = kiln.build(&args).ok().ran_steps();
    assert_eq!(ran, ["COPY --from=lib . /lib/ = miss (lib.txt changed)"]);
    assert_eq!(read("lib/lib.txt"), "lib 2");
}

#[test]
fn an_image_on_the_hosts_files_is_a_base_like_any_other_and_stays_one_that_is_not_portable() {
    let (kiln, project) = (Kiln::new(), Project::new(&[("Dockerfile", "FROM kiln/host\nRUN echo one > /one\n")]));
    let _below = kiln.build(["-t".as_ref(), "below".as_ref(), project.path().as_os_str()]).ok();
    project.write(
        "Dockerfile",
        "FROM below\nRUN cat /one > /two\nFROM scratch\nCOPY --from=below /one /\nFROM below\nCOPY --from=0 /two /\n",
    );
    let build = || kiln.build(["-t".as_ref(), "above".as_ref(), project.path().as_os_str()]).ok();
    let _above = build();
    assert_eq!(kiln.run(["run", "above", "cat", "/one", "/two"]).ok().stdout, "one\none\n");
    assert!(kiln.run(["inspect", "above"]).ok().stdout.contains("\"portable\": false"));
    let again = build().verdicts();
    assert!(again.iter().all(|line| line.contains("= hit")), "{again:?}");
}

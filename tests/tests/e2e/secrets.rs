//! Secrets: given to the steps that ask for them, and nowhere to be found afterwards.

use kiln_tests::server::Server;
use kiln_tests::{Busybox, Kiln, Project, has_tool};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The files below `root` that hold `needle`.
fn holding(root: &Path, needle: &[u8]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).unwrap().map(Result::unwrap) {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.extend(holding(&entry.path(), needle));
        } else if kind.is_file() {
            let content = fs::read(entry.path()).unwrap();
            if content.windows(needle.len()).any(|window| window == needle) {
                found.push(entry.path());
            }
        }
    }
    found
}

#[test]
fn no_secret_is_in_any_layer_history_log_key_record_event_or_error() {
    const FILE: &str = "s3cr3t-of-a-file-4711";
    const VARIABLE: &str = "s3cr3t-of-a-variable-4712";
    const PASSWORD: &str = "s3cr3t-of-an-address-4713";
    let token = Server::AUTHORIZATION.trim_start_matches("Bearer ");
    let files = Project::new(&[("private/f", "kept"), ("open", "open")]);
    let server = Server::start(files.path()).unwrap();
    let kiln = Kiln::new().env("VARIABLE", VARIABLE).env("TOKEN", token);
    let Some(()) = Busybox::import(&kiln) else { return };
    let password = server.url().replace("http://", &format!("http://me:{PASSWORD}@"));
    let dockerfile = format!(
        "FROM busybox\n# kiln: --key=default + secret(file)\n\
         RUN --mount=type=secret,id=file --mount=type=secret,id=variable,env=V cat /run/secrets/file; echo $V; \
         echo \"$V\" >&2; test -n \"$V\"\n\
         ADD {}/private/f /f\nADD {password}/open /open\nRUN --mount=type=secret,id=file cp /run/secrets/file /dev/shm/x\n",
        server.url()
    );
    // The secret's own file is outside of what is searched.
    let project = Project::new(&[("Dockerfile", &dockerfile), ("secret", &format!("{FILE}\n"))]);
    let token_secret = format!("id=HTTP_AUTH_TOKEN_{},env=TOKEN", server.authority());
    let file_secret = format!("id=file,src={}", project.at("secret").display());
    let path = project.path().to_str().unwrap().to_owned();
    let mut output = format!("type=oci,dest={}", kiln.scratch().join("image.tar").display());
    let secrets = ["--secret", &file_secret, "--secret", "id=variable,env=VARIABLE", "--secret", &token_secret];
    let mut said = String::new();
    let mut run = |args: &[&str]| {
        let ran = kiln.run(args);
        said += &format!("{}{}", ran.stdout, ran.stderr);
        ran.code
    };
    let build = |more: &[&'static str]| [&["build", "-t", "app"], more, &secrets[..]].concat();
    for more in [&["--progress", "plain"][..], &["--progress", "json"], &["--progress", "plain", "--no-cache"]] {
        assert_eq!(run(&[&build(more)[..], &["-o", &output, &path]].concat()), Some(0));
    }
    output = format!("type=local,dest={}", kiln.scratch().join("out").display());
    assert_eq!(run(&[&build(&["--progress", "plain"])[..], &["-o", &output, &path]].concat()), Some(0));
    for command in [
        &["explain", "--all"][..],
        &["explain", "--all", "--json"],
        &["log", "2"],
        &["history", "app"],
        &["inspect", "app"],
        &["builds"],
        &["graph", "--format", "json"],
    ] {
        assert_eq!(run(command), Some(0), "{command:?}");
    }
    // A step that fails with it in its command's output.
    project.write("Dockerfile", "FROM busybox\nRUN --mount=type=secret,id=file cat /run/secrets/file; exit 1\n");
    assert_eq!(run(&[&build(&["--progress", "plain"])[..], &[&path]].concat()), Some(1));
    for secret in [FILE, VARIABLE, PASSWORD, token] {
        assert!(!said.contains(secret), "{secret} is in what was printed");
        assert_eq!(holding(kiln.scratch(), secret.as_bytes()), [] as [PathBuf; 0]);
    }
    assert!(said.contains("***"), "{said}");
}

#[test]
fn the_value_of_an_argument_that_is_named_as_a_secret_is_in_no_key_record_event_log_or_error() {
    const VALUES: [&str; 2] = ["s3cr3t-argument-4714", "s3cr3t-argument-4715"];
    let kiln = Kiln::new();
    let project = Project::new(&[("a", "a"), (".dockerignore", "Dockerfile\n")]);
    let path = project.path().to_str().unwrap();
    let mut said = String::new();
    let steps = "FROM kiln/host\nARG NPM_TOKEN\nARG X=a-$NPM_TOKEN\nLABEL token=$NPM_TOKEN\nENV URL=https://me:$NPM_TOKEN@host\n\
                 COPY --chown=$NPM_TOKEN a /a\nUSER ${NPM_TOKEN}0\nUSER root\nVOLUME /v-$X\nSTOPSIGNAL 9\nRUN echo $URL; true\n";
    let argument = |value: &str| format!("NPM_TOKEN={value}");
    let mut build = |text: &str, value: &str, progress: &str| {
        project.write("Dockerfile", text);
        let ran = kiln.run(["build", "--progress", progress, "--build-arg", &argument(value), path]);
        said += &format!("{}{}", ran.stdout, ran.stderr);
        ran
    };
    // Builds that give no image, because what is in an image's configuration is there for all to see.
    let failing = format!("{steps}RUN exit 3\n");
    for value in VALUES {
        for progress in ["plain", "json"] {
            assert_eq!(build(&failing, value, progress).code, Some(1));
        }
    }
    let missing = build(&format!("{steps}COPY $NPM_TOKEN-file /\n"), VALUES[0], "plain");
    assert!(missing.stderr.contains("$NPM_TOKEN-file is not in the context"), "{}", missing.stderr);
    let wrong = build(&format!("{steps}EXPOSE $NPM_TOKEN\n"), VALUES[0], "plain");
    assert_eq!(wrong.code, Some(1));
    let changed = build(&failing, VALUES[1], "plain");
    assert!(changed.stdout.contains("LABEL token=$NPM_TOKEN") || changed.stderr.contains("LABEL token=$NPM_TOKEN"));
    let mut explained = String::new();
    for command in [
        &["explain", "--all"][..],
        &["explain", "--all", "--json"],
        &["explain", "--all", "5"],
        &["graph", "--format", "json"],
        &["builds"],
        &["plan", path],
    ] {
        explained += &kiln.run(command).stdout;
    }
    let log = kiln.run(["log", "11"]).ok().stdout;
    assert_eq!(log, "https://me:***@host\n");
    for value in VALUES {
        assert!(
            !said.contains(value) && !explained.contains(value),
            "{value} is in what was printed:\n{said}{explained}"
        );
        assert_eq!(holding(kiln.scratch(), value.as_bytes()), [] as [PathBuf; 0]);
    }
}

#[test]
fn a_changed_value_of_a_secret_argument_is_named_as_changed_without_the_value() {
    let kiln = Kiln::new();
    let project = Project::new(&[(".dockerignore", "Dockerfile\n"), ("a", "a")]);
    project.write(
        "Dockerfile",
        "FROM scratch\nARG API_KEY\nLABEL key=$API_KEY\nENV URL=https://$API_KEY/\nCOPY a /$API_KEY/a\nWORKDIR /w/$API_KEY\n",
    );
    let build = |value: &str| {
        let argument = format!("API_KEY={value}");
        kiln.build(["--build-arg", &argument, project.path().to_str().unwrap()]).ok()
    };
    let first = build("hunter2");
    let second = build("hunter3");
    let unsaid = second.verdicts();
    assert_eq!(
        unsaid,
        [
            "FROM scratch = hit (configuration)",
            "ARG API_KEY = hit (configuration: --build-arg API_KEY changed)",
            "LABEL key=$API_KEY = hit (configuration: the instruction changed)",
            "ENV URL=https://$API_KEY/ = hit (configuration: the instruction changed)",
            "COPY a /$API_KEY/a = miss (parent changed ← [2/6] ARG API_KEY)",
            "WORKDIR /w/$API_KEY = miss (parent changed ← [2/6] ARG API_KEY)",
        ]
    );
    assert_ne!(first.image(), second.image());
    let told = kiln.run(["explain", "--all"]).ok().stdout;
    assert!(told.contains("--build-arg API_KEY") && !told.contains("hunter"), "{told}");
    let ids = [first, second]
        .map(|build| build.events.iter().find_map(|event| Some(event["build"].as_str()?.to_owned())).unwrap());
    let told = kiln.run(["diff", &ids[0], &ids[1]]).ok().stdout;
    // What two images have in them is told as it is: their files' names are for all to see.
    assert!(told.contains("LABEL key=$API_KEY: changed") && !told.contains("key=hunter"), "{told}");
}

#[test]
fn a_step_signs_with_an_agent_whose_keys_it_never_sees() {
    let (Some(_), Some(_)) = (has_tool("ssh-keygen"), has_tool("ssh-agent")) else { return };
    let kiln = Kiln::new();
    let key = kiln.scratch().join("key");
    let mut make = Command::new("ssh-keygen");
    make.args(["-q", "-t", "ed25519", "-N", "", "-C", "the-key", "-f"]).arg(&key).stdout(Stdio::null());
    assert!(make.status().unwrap().success());
    let dockerfile = "FROM kiln/host\nRUN --mount=type=ssh,required=true ssh-add -l && test ! -e /root/.ssh/key\n\
                      RUN test -z \"$SSH_AUTH_SOCK\"\n";
    let project = Project::new(&[("Dockerfile", dockerfile)]);
    let path = project.path().to_str().unwrap();
    let built = kiln.build(["--ssh", &format!("default={}", key.display()), path]).ok();
    assert!(built.log().contains("the-key (ED25519)"), "{}", built.log());
    let refused = kiln.build(["--no-cache", path]).ran;
    assert!(refused.code == Some(1) && refused.stderr.contains("--ssh"), "{}", refused.stderr);
}

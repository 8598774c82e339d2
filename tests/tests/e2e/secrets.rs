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

//! Keys that the file states: what runs again and what does not, and that the image is right all the same.

use kiln_tests::{Busybox, Kiln, Project, has_tool};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

const FOUNDING: &str = r#"FROM kiln/host AS app
WORKDIR /app
# kiln: KEY deps = json("package.json", ".dependencies") + files("yarn.lock")
COPY . .
# kiln: --key=deps
RUN mkdir -p node_modules && cp package.json node_modules/installed
FROM scratch
COPY --from=app /app /app
"#;

const INSTALL: &str = "RUN mkdir -p node_modules && cp package.json node_modules/installed";
const COPIED: &str = "COPY --from=app /app /app";

const PACKAGE: &str = r#"{"scripts": {"test": "x"}, "dependencies": {"a": "1.0.0"}}"#;

fn founding() -> Project {
    Project::new(&[
        ("Dockerfile", FOUNDING),
        ("package.json", PACKAGE),
        ("yarn.lock", "a@1.0.0\n"),
        ("src/index.js", "one\n"),
    ])
}

/// The files of the image that the project builds, and which of its steps ran.
fn built(kiln: &Kiln, project: &Project) -> (PathBuf, Vec<String>) {
    let out = kiln.scratch().join("out");
    if out.exists() {
        fs::remove_dir_all(&out).unwrap();
    }
    let output = format!("type=local,dest={}", out.display());
    let build = kiln.build(["-o".as_ref(), output.as_ref(), project.path().as_os_str()]).ok();
    let ran = build.ran_steps().into_iter().map(|line| line.split(" = ").next().unwrap_or_default().to_owned());
    (out, ran.collect())
}

#[test]
fn an_edit_of_the_sources_hits_the_install_and_the_image_has_the_new_sources() {
    let (kiln, project) = (Kiln::new(), founding());
    assert!(built(&kiln, &project).1.contains(&INSTALL.to_owned()));
    project.write("src/index.js", "two\n");
    let (out, ran) = built(&kiln, &project);
    assert_eq!(ran, ["COPY . .", COPIED]);
    assert_eq!(fs::read_to_string(out.join("app/src/index.js")).unwrap(), "two\n");
    assert_eq!(fs::read_to_string(out.join("app/node_modules/installed")).unwrap(), PACKAGE);
}

#[test]
fn a_plan_says_so_where_a_key_reads_what_only_the_build_makes_and_runs_no_command_of_a_key() {
    let (kiln, project) = (Kiln::new(), founding());
    let text = FOUNDING.replace(" + files(\"yarn.lock\")", " + run(\"cat yarn.lock\")");
    project.write("Dockerfile", &text);
    let plan = || kiln.run(["plan".as_ref(), project.path().as_os_str()]).ok().stdout;
    let first = plan();
    assert!(first.contains("4 steps would run"), "{first}");
    let _built = built(&kiln, &project);
    let same = plan();
    assert!(same.starts_with("plan: none of"), "{same}");
    // What the key reads lies in an earlier layer as it will be: so the answer is known, and it is a hit. What
    // its command prints is not.
    project.write("src/index.js", "two\n");
    let other = plan();
    assert!(other.contains("not known before the build"), "{other}");
    project.write("Dockerfile", &FOUNDING.replace(" + files(\"yarn.lock\")", ""));
    let _again = built(&kiln, &project);
    project.write("src/index.js", "three\n");
    let known = plan();
    assert!(known.contains("COPY . .: changed") && !known.contains("RUN mkdir"), "{known}");
    project.write("package.json", &PACKAGE.replace("1.0.0", "2.0.0"));
    let edited = plan();
    assert!(edited.contains("not known before the build"), "{edited}");
    assert!(built(&kiln, &project).1.contains(&INSTALL.to_owned()));
}

#[test]
fn an_edit_of_the_dependencies_runs_the_install_and_one_of_the_scripts_does_not() {
    let (kiln, project) = (Kiln::new(), founding());
    let _first = built(&kiln, &project);
    project.write("package.json", &PACKAGE.replace("\"x\"", "\"y\""));
    let (out, ran) = built(&kiln, &project);
    assert_eq!(ran, ["COPY . .", COPIED]);
    assert!(fs::read_to_string(out.join("app/package.json")).unwrap().contains("\"y\""));
    project.write("package.json", &PACKAGE.replace("1.0.0", "2.0.0"));
    let build = kiln.build([project.path()]).ok();
    assert!(build.verdicts()[3].contains("json package.json .dependencies changed"), "{:#?}", build.verdicts());
    project.write("yarn.lock", "a@2.0.0\n");
    let build = kiln.build([project.path()]).ok();
    assert!(build.verdicts()[3].contains("yarn.lock changed"), "{:#?}", build.verdicts());
}

/// A step with a key, built again and again; each run of it writes another layer.
struct Keyed<'a> {
    kiln: &'a Kiln,
    project: Project,
    args: Vec<String>,
}

/// What stands before the step, in a directory with a file of each kind that the page speaks of.
const BEFORE: &str = r#"FROM kiln/host AS build
ARG META=1
WORKDIR /out
RUN printf '{"version": "%s"}' "$META" > meta.json
FROM kiln/host
WORKDIR /app
COPY . .
ARG VERSION=1
ARG BUILD_ID=1
ENV NODE_ENV=dev OTHER=1
"#;

const FILES: [(&str, &str); 11] = [
    (".dockerignore", "Dockerfile\n.git\n"),
    ("package.json", PACKAGE),
    ("Cargo.toml", "[package]\nname = \"a\"\n[dependencies]\nb = \"1\"\n"),
    ("config.yml", "build:\n  a: 1\nother: 1\n"),
    ("requirements.txt", "# note\nb==1\na==1\n"),
    ("version.txt", "1\n"),
    ("go.sum", "x\n"),
    ("Makefile", "# note\nall:\n"),
    ("src/index.js", "one\ntwo\n"),
    ("src/gen/out.js", "1\n"),
    ("bin/run.sh", "#!/bin/sh\n"),
];

impl<'a> Keyed<'a> {
    /// A step with this key, not yet built. The key is a part of the command too, so that no other step hits it.
    fn new(kiln: &'a Kiln, key: &str) -> Self {
        let project = Project::new(&FILES);
        project.write("Dockerfile", &format!("{BEFORE}# kiln: --key={key}\nRUN date +%s%N > /stamp # {key}\n"));
        let secret = kiln.scratch().join("token");
        fs::write(&secret, "hush").unwrap();
        let args = vec!["--secret".to_owned(), format!("id=token,src={}", secret.display())];
        Keyed { kiln, project, args }
    }

    /// Builds; tells whether the step ran.
    fn ran(&self) -> bool {
        let mut args = self.args.clone();
        args.push(self.project.path().display().to_string());
        let build = self.kiln.build(args).ok();
        build.ran_steps().iter().any(|line| line.starts_with("RUN date"))
    }

    fn write(&self, path: &str, content: &str) {
        self.project.write(path, content);
    }

    fn edit(&self, path: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.project.at(path)).unwrap();
        assert!(text.contains(from), "{text}");
        self.write(path, &text.replace(from, to));
    }

    fn chmod(&self, path: &str, mode: u32) {
        fs::set_permissions(self.project.at(path), fs::Permissions::from_mode(mode)).unwrap();
    }

    fn build_arg(&mut self, value: &str) {
        self.args.extend(["--build-arg".to_owned(), value.to_owned()]);
    }

    fn commit(&self) {
        for args in [&["init", "-q"][..], &["add", "."], &["commit", "-q", "--allow-empty", "-m", "x"]] {
            let mut git = Command::new("git");
            git.current_dir(self.project.path()).args(["-c", "user.name=a", "-c", "user.email=a@b"]);
            assert!(git.args(["-c", "init.defaultBranch=main"]).args(args).status().unwrap().success());
        }
    }
}

type Edit = fn(&mut Keyed<'_>);

/// Examples of the page: the key, an edit that it does not see, and one that it does. Those that need a registry, a
/// server or more than one build have tests of their own.
const CASES: &[(&str, Edit, Edit)] = &[
    (r#"files("src/**", "!src/gen/**")"#, |k| k.write("src/gen/out.js", "2\n"), source),
    (r#"absent("yarn.lock")"#, source, |k| k.write("yarn.lock", "")),
    (
        r#"json("package.json", ".dependencies")"#,
        |k| k.edit("package.json", "\"x\"", "\"y\""),
        |k| k.edit("package.json", "1.0.0", "2.0.0"),
    ),
    (
        r#"toml("Cargo.toml", ".dependencies")"#,
        |k| k.write("Cargo.toml", "# note\n[dependencies]\nb  =  \"1\"\n"),
        |k| k.write("Cargo.toml", "[dependencies]\nb = \"2\"\n"),
    ),
    (
        r#"yaml("config.yml", ".build")"#,
        |k| k.write("config.yml", "build: {a: 1} # note\n"),
        |k| k.write("config.yml", "build: {a: 2}\n"),
    ),
    (
        r#"lines("requirements.txt", "^[a-z]")"#,
        |k| k.edit("requirements.txt", "# note", "# another"),
        |k| k.edit("requirements.txt", "b==1", "b==2"),
    ),
    ("env(NODE_ENV)", |k| k.edit("Dockerfile", "OTHER=1", "OTHER=2"), |k| k.edit("Dockerfile", "=dev", "=production")),
    ("arg(VERSION)", |k| k.build_arg("BUILD_ID=2"), |k| k.build_arg("VERSION=2")),
    ("secret(token)", source, |k| fs::write(k.kiln.scratch().join("token"), "hash").unwrap()),
    (r#"run("cat version.txt")"#, source, |k| k.write("version.txt", "2\n")),
    ("platform", source, command),
    ("parent", nothing, source),
    // As without a key: the sources are below the step, which never reads them.
    (r#"default + time("1d")"#, source, command),
    (r#"default - parent + files("go.sum")"#, source, |k| k.write("go.sum", "y\n")),
    ("default - env(OTHER)", |k| k.edit("Dockerfile", "OTHER=1", "OTHER=2"), |k| k.build_arg("BUILD_ID=2")),
    ("never", source, command),
    (r#"optional(files("yarn.lock"))"#, source, |k| k.write("yarn.lock", "")),
    (r#"files("context:package.json") + json("stage:build:/out/meta.json", ".version")"#, source, |k| {
        k.build_arg("META=2");
    }),
    (r#"files("src") | names"#, source, |k| k.write("src/new.js", "")),
    (r#"files("src") | content"#, |k| k.chmod("src/index.js", 0o600), source),
    (r#"files("bin") | mode"#, |k| k.write("bin/run.sh", "#!/bin/bash\n"), |k| k.chmod("bin/run.sh", 0o600)),
    (r#"files("bin") | owner"#, |k| k.chmod("bin/run.sh", 0o600), |k| k.edit("Dockerfile", "COPY", "COPY --chown=5")),
    (r#"files("src") | eol"#, |k| k.write("src/index.js", "one\r\ntwo\r\n"), source),
    (
        r#"lines("requirements.txt", ".") | sorted_lines"#,
        |k| k.write("requirements.txt", "a==1\nb==1\n# note\n"),
        |k| k.edit("requirements.txt", "a==1", "a==2"),
    ),
    (
        r#"files("Makefile") | strip_comments"#,
        |k| k.edit("Makefile", "# note", "# another"),
        |k| k.edit("Makefile", "all:", "all: x"),
    ),
    (r#"git("head")"#, source, |k| k.commit()),
    (r#"git("dirty")"#, |k| k.commit(), source),
    (r#"git("src")"#, |k| (k.write("go.sum", "y\n"), k.commit()).1, |k| (source(k), k.commit()).1),
];

/// The examples of the page with tests of their own.
const ELSEWHERE: [&str; 5] =
    [r#"image("kiln-keys-base")"#, r#"http("https://example.com/versions.json")"#, r#"time("1s")"#, "traced", "always"];

fn source(keyed: &mut Keyed<'_>) {
    keyed.write("src/index.js", "three\n");
}

fn command(keyed: &mut Keyed<'_>) {
    keyed.edit("Dockerfile", "> /stamp", "> /other");
}

fn nothing(_: &mut Keyed<'_>) {}

#[test]
fn every_example_of_the_page_is_a_key_that_does_what_the_page_says() {
    let has_git = has_tool("git").is_some();
    let kiln = Kiln::new();
    for (key, unseen, seen) in CASES {
        let mut keyed = Keyed::new(&kiln, key);
        if key.starts_with("git") {
            if !has_git {
                continue;
            }
            keyed.commit();
        }
        assert!(keyed.ran(), "{key}: the first build");
        unseen(&mut keyed);
        assert!(!keyed.ran(), "{key}: an edit that it does not see");
        seen(&mut keyed);
        assert!(keyed.ran(), "{key}: an edit that it sees");
        assert!(!keyed.ran(), "{key}: nothing");
    }
}

#[test]
fn the_page_has_the_examples_that_are_tested_and_no_others() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cache-keys.md");
    let page = fs::read_to_string(page).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| `") || line.starts_with("| places"));
    let cells = rows.filter_map(|row| {
        let row = row.replace("\\|", "\u{0}");
        row.split('|').nth(2).map(|cell| cell.replace('\u{0}', "|").trim().trim_matches('`').to_owned())
    });
    let mut shown: Vec<String> = cells.collect();
    let mut tested: Vec<String> = CASES.iter().map(|case| case.0).chain(ELSEWHERE).map(str::to_owned).collect();
    shown.sort();
    tested.sort();
    assert_eq!(shown, tested);
}

#[test]
fn a_key_that_says_always_runs_each_time_and_stops_the_chain_where_nothing_changed() {
    let kiln = Kiln::new();
    let text = "FROM kiln/host\n# kiln: --key=always\nRUN echo same > /out\nRUN wc -c < /out > /count\n";
    let project = Project::new(&[("Dockerfile", text)]);
    let _first = kiln.build([project.path()]).ok();
    for _ in 0..2 {
        let verdicts = kiln.build([project.path()]).ok().verdicts();
        assert!(verdicts[1].starts_with("RUN echo same > /out = miss (uncacheable"), "{verdicts:#?}");
        assert!(verdicts[2].starts_with("RUN wc -c < /out > /count = hit"), "{verdicts:#?}");
    }
}

#[test]
fn a_bucket_of_time_passes() {
    let kiln = Kiln::new();
    let keyed = Keyed::new(&kiln, r#"time("1s")"#);
    assert!(keyed.ran());
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    let build = kiln.build([keyed.project.path()]).ok();
    assert!(build.verdicts().iter().any(|line| line.ends_with("= miss (expired)")), "{:#?}", build.verdicts());
}

/// A server on the loopback that answers each request with what is in `content`, or with 404 where that is empty.
fn serve(content: &Arc<Mutex<String>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let content = content.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let body = content.lock().unwrap().clone();
            let status = if body.is_empty() { "404 Not Found" } else { "200 OK" };
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(format!("{head}{body}").as_bytes());
        }
    });
    format!("http://{address}/versions.json")
}

#[test]
fn an_address_that_answers_another_content_runs_the_step() {
    let content = Arc::new(Mutex::new("1".to_owned()));
    let kiln = Kiln::new();
    let mut keyed = Keyed::new(&kiln, &format!("optional(http({:?}))", serve(&content)));
    assert!(keyed.ran());
    source(&mut keyed);
    assert!(!keyed.ran());
    "2".clone_into(&mut content.lock().unwrap());
    assert!(keyed.ran());
    content.lock().unwrap().clear();
    assert!(keyed.ran(), "it is gone");
    assert!(!keyed.ran());
}

#[test]
fn a_name_that_leads_to_another_image_runs_the_step() {
    let kiln = Kiln::new();
    let base = |label: &str| {
        let base = Project::new(&[("Dockerfile", &format!("FROM scratch\nLABEL v={label}\nCOPY Dockerfile /\n"))]);
        let _built = kiln.build(["-t".as_ref(), "kiln-keys-base".as_ref(), base.path().as_os_str()]).ok();
    };
    base("1");
    let mut keyed = Keyed::new(&kiln, r#"image("kiln-keys-base")"#);
    assert!(keyed.ran());
    source(&mut keyed);
    assert!(!keyed.ran());
    base("2");
    assert!(keyed.ran());
}

#[test]
fn what_a_key_names_and_does_not_find_is_told_with_its_place() {
    let kiln = Kiln::new();
    let all = [
        r#"files("none/**")"#,
        r#"json("package.json", ".devDependencies")"#,
        "env(NONE)",
        "secret(none)",
        r#"run("echo to say; echo why >&2; exit 3")"#,
        r#"files("stage:nobody:/x")"#,
        r#"lines("package.json", "(")"#,
        "default - env(VERSION)",
    ];
    let mut shown = String::new();
    for key in all {
        let dockerfile = format!(
            "FROM kiln/host\nWORKDIR /app\nCOPY package.json .\nARG VERSION=1\n# kiln: --key={key}\nRUN true\n"
        );
        let project = Project::new(&[("Dockerfile", &dockerfile), ("package.json", PACKAGE)]);
        let ran = kiln.run(["build", "--progress", "quiet", project.path().to_str().unwrap()]);
        assert_eq!(ran.code, Some(1), "{key}: {}", ran.stderr);
        shown += &ran.stderr.replace(project.path().to_str().unwrap(), "PROJECT");
        shown.push('\n');
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn a_kiln_file_is_found_and_read_by_its_name() {
    let kiln = Kiln::new();
    let text = "KEY once = never\nFROM kiln/host\nWORKDIR /app\nCOPY a .\nRUN --key=once date +%N > /stamp\n";
    let project = Project::new(&[("build.kiln", text), ("a", "1")]);
    let _first = kiln.build([project.path()]).ok();
    project.write("a", "2");
    let second = kiln.build([project.path()]).ok();
    assert_eq!(second.ran_steps().len(), 1, "{:#?}", second.verdicts());
    project.write("Dockerfile", "FROM scratch\nLABEL a=b\n");
    assert_eq!(kiln.build([project.path()]).ok().instructions().len(), 2, "Docker's name goes first");
}

/// The warnings of a build.
fn warnings(build: &kiln_tests::Build) -> Vec<String> {
    let warnings = build.events.iter().filter(|event| event["event"] == "warning");
    warnings.map(|event| event["message"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Whether steps can be watched here; a build says once if not.
fn is_watched(build: &kiln_tests::Build) -> bool {
    !warnings(build).iter().any(|message| message.contains("cannot be watched"))
        || !kiln_tests::skip("a kernel that lets steps be watched")
}

#[test]
fn what_a_step_read_and_its_key_does_not_cover_is_a_warning_and_an_error_where_strict() {
    let kiln = Kiln::new();
    let text = |key: &str| {
        format!(
            "FROM kiln/host\nWORKDIR /app\nCOPY . .\n# kiln: --key={key}\nRUN cat go.sum src/index.js src/gen/out.js > /all\n"
        )
    };
    let project = Project::new(&FILES);
    let build = |key: &str, strict: bool| {
        project.write("Dockerfile", &text(key));
        let mut args = vec![project.path().display().to_string()];
        args.extend(strict.then(|| "--strict".to_owned()));
        kiln.build(args)
    };
    let first = build(r#"files("go.sum", "src/gen/**")"#, false).ok();
    if !is_watched(&first) {
        return;
    }
    let told = warnings(&first);
    let line =
        "[4/4] RUN cat go.sum src/index.js src/gen/out.js > /all read src/index.js, which its key does not cover";
    assert_eq!(told, [line]);
    // What was found is an error for a strict build, though it only hits.
    let strict = build(r#"files("go.sum", "src/gen/**")"#, true);
    assert_eq!(strict.ran.code, Some(1), "{}", strict.ran.stdout);
    assert!(strict.finished("error").as_str().unwrap_or_default().contains("read src/index.js, which its key"));
    let fresh = build(r#"lines("go.sum", ".")"#, true);
    let error = fresh.finished("error");
    assert!(error.as_str().unwrap_or_default().contains("read src/gen/out.js, src/index.js, which its key"), "{error}");
    for key in [r#"files("**")"#, r#"files("context:src") + files("go.sum")"#, "traced", "default", "never"] {
        let sound = build(key, true).ok();
        assert_eq!(warnings(&sound), Vec::<String>::new(), "{key}");
    }
}

#[test]
fn a_traced_key_misses_what_the_step_read_and_nothing_else() {
    let kiln = Kiln::new();
    let project = Project::new(&FILES);
    project
        .write("Dockerfile", "FROM kiln/host\nWORKDIR /app\nCOPY . .\n# kiln: --key=traced\nRUN cat go.sum > /all\n");
    let first = kiln.build([project.path()]).ok();
    if !is_watched(&first) {
        return;
    }
    project.write("src/index.js", "three\n");
    let verdicts = kiln.build([project.path()]).ok().verdicts();
    assert!(verdicts[3].starts_with("RUN cat go.sum > /all = hit (traced"), "{verdicts:#?}");
    project.write("go.sum", "y\n");
    let verdicts = kiln.build([project.path()]).ok().verdicts();
    assert!(verdicts[3].starts_with("RUN cat go.sum > /all = miss"), "{verdicts:#?}");
}

/// The words of the Docker command, its shared directory and what that is called for it, where there are any.
fn docker() -> Option<(Vec<String>, PathBuf, String)> {
    let (Ok(command), Ok(shared)) = (std::env::var("DOCKER"), std::env::var("PEERS_DIR")) else {
        kiln_tests::skip_peer("Docker, in DOCKER and PEERS_DIR");
        return None;
    };
    let prefix = std::env::var("DOCKER_PREFIX").unwrap_or_else(|_| shared.clone());
    Some((command.split_whitespace().map(str::to_owned).collect(), PathBuf::from(shared), prefix))
}

#[test]
fn docker_builds_the_same_file_unchanged() {
    let Some((words, shared, prefix)) = docker() else { return };
    let place = format!("kiln-keys-{}", std::process::id());
    let dir = shared.join(&place);
    fs::create_dir_all(&dir).unwrap();
    let run = |args: &[&str]| {
        let output = Command::new(&words[0]).args(&words[1..]).args(args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let Some(tar) = Busybox::tar(&dir) else { return };
    let tar = format!("{prefix}/{place}/{}", tar.file_name().unwrap().to_str().unwrap());
    run(&["import", &tar, "kiln-keys-busybox"]);
    let project = founding();
    let text = format!("ARG BASE=kiln/host\n{}", FOUNDING.replace("FROM kiln/host", "FROM ${BASE}"));
    project.write("Dockerfile", &text);
    let context = dir.join("context");
    assert!(Command::new("cp").arg("-r").arg(project.path()).arg(&context).status().unwrap().success());
    let out = format!("{prefix}/{place}/context");
    run(&["build", "--build-arg", "BASE=kiln-keys-busybox", "-t", "kiln-keys-founding", &out]);
    run(&["create", "--name", &place, "kiln-keys-founding", "none"]);
    run(&["cp", &format!("{place}:/app/node_modules/installed"), &format!("{prefix}/{place}/installed")]);
    run(&["rm", &place]);
    let installed = fs::read_to_string(dir.join("installed")).unwrap();
    fs::remove_dir_all(&dir).unwrap();
    assert_eq!(installed, PACKAGE);
    let kiln = Kiln::new();
    let (out, _) = built(&kiln, &project);
    assert_eq!(fs::read_to_string(out.join("app/node_modules/installed")).unwrap(), installed);
}

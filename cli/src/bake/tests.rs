//! Files as projects have them, what each comes to, and that it is a project file.

use super::*;
use crate::environment::Environment;
use crate::project;

/// The project file with what is said of it; it is read again.
fn imported(kind: Kind, text: &str) -> String {
    let project = match read(kind, text) {
        Ok(project) => project,
        Err(error) => return format!("error: {error}\n"),
    };
    let written = written(&project, "FILE");
    let read = project::parse("kiln.ron", &written).unwrap_or_else(|error| panic!("{error:?}\n{written}"));
    for (name, _) in &project.targets {
        read.resolved(name, &Environment::fixed(&[])).unwrap_or_else(|error| panic!("{name}: {error:?}\n{written}"));
    }
    let remarks = project.remarks.iter().map(|remark| format!("warning: FILE:{}: {}\n", remark.line, remark.words));
    remarks.collect::<String>() + &written
}

/// A tool with cross builds, as many projects in Go have it.
const TOOL: &str = r#"
variable "GO_VERSION" {
  default = null
}
variable "DESTDIR" {
  default = "./bin"
}
variable "REPO" {
  default = "example/tool"
}

target "_common" {
  args = {
    GO_VERSION = GO_VERSION
    BUILDKIT_CONTEXT_KEEP_GIT_DIR = 1
  }
}

target "docker-metadata-action" {
  tags = ["${REPO}:local"]
}

group "default" {
  targets = ["binaries"]
}

group "validate" {
  targets = ["lint", "validate-vendor"]
}

// Finds what is wrong.
target "lint" {
  inherits = ["_common"]
  description = "Runs the linters"
  dockerfile = "./hack/dockerfiles/lint.Dockerfile"
  output = ["type=cacheonly"]
}

target "validate-vendor" {
  inherits = ["_common"]
  dockerfile = "./hack/dockerfiles/vendor.Dockerfile"
  target = "validate"
  output = ["type=cacheonly"]
}

target "binaries" {
  inherits = ["_common"]
  target = "binaries"
  output = ["${DESTDIR}/build"]
  platforms = ["local"]
}

target "release" {
  inherits = ["binaries"]
  platforms = [
    "linux/amd64",
    "linux/arm/v7",
    "linux/arm64",
  ]
  output = [{ type = "oci", dest = "${DESTDIR}/release.tar" }]
  attest = ["type=provenance,mode=max", "type=sbom"]
}

target "image" {
  inherits = ["_common", "docker-metadata-action"]
  labels = { "org.opencontainers.image.source" = "https://${REPO}", "cost" = "$5" }
  cache-from = ["type=registry,ref=${REPO}:cache"]
  cache-to = ["type=inline"]
  output = ["type=registry"]
  secret = ["id=token,env=TOKEN", "type=file,id=npmrc,src=.npmrc"]
  ssh = ["default", { id = "deploy", paths = ["key"] }]
  no-cache-filter = ["deps"]
  pull = true
}
"#;

/// What is computed: functions, conditions, matrices, contexts that are targets.
const COMPUTED: &str = r#"
variable "TAG" { default = "latest" }
variable "DEBUG" { default = false }
variable "VERSIONS" { default = ["3.11", "3.12"] }
variable "CHECKED" {
  default = "a"
  validation {
    condition = CHECKED != ""
    error_message = "no"
  }
}
function "tagged" {
  params = [name]
  result = ["${name}:${TAG}"]
}
target "base" {
  context = "services"
  dockerfile = "Dockerfile.base"
  target = "base"
}
target "app" {
  context = "services"
  contexts = { base = "target:base", lib = "../lib", alpine = "docker-image://alpine:3.20" }
  tags = [notequal("latest", TAG) ? "app:${TAG}" : "", "app:${upper("x")}"]
  args = { MODE = DEBUG ? "debug" : "release", BUILD = "${TAG}-1", EMPTY = null }
  extra-hosts = { db = "10.0.0.1" }
  shm-size = "128m"
  network = "none"
  entitlements = ["network.host"]
}
target "inherits-file" {
  inherits = ["base"]
  context = "other"
}
target "user-function" {
  tags = tagged("x")
}
target "test" {
  name = "test-${replace(version, ".", "-")}-${item.os}"
  matrix = {
    version = VERSIONS
    item = [{ os = "alpine" }, { os = "debian" }]
  }
  args = { VERSION = version, OS = item.os }
  tags = ["test:${version}-${item.os}-${TAG}"]
  cache-to = ["type=local,dest=x"]
}
target "unnamed" {
  matrix = { tgt = ["one", "two"] }
  target = tgt
}
target "dependent" {
  contexts = { app = "target:app" }
}
target "default" {
  inherits = ["app"]
  ulimits = ["nofile=1024:1024"]
  dockerfile-inline = "FROM scratch"
}
"#;

/// The smaller functions, as release files use them.
const FUNCTIONS: &str = r#"
variable "TAGS" { default = ["v1.2.3", "", "v1.2.3", "edge"] }
target "app" {
  tags = [for tag in distinct(compact(TAGS)) : "app:${trimprefix(tag, "v")}"]
  args = {
    MINOR = regex_replace("v1.2.3", "^v?([0-9]+)[.]([0-9]+).*$", "$1.$2")
    COUNT = length(TAGS)
    EDGE = contains(TAGS, "edge") ? "yes" : "no"
    SIGNED = and(true, not("false"))
    EITHER = or(false, true)
    FIRST = element(TAGS, 4)
    OWNER = coalesce(null, "nobody")
    LEVEL = lookup({ debug = "3" }, "debug", "0")
    NAMES = join(",", flatten([["a", ["b"]], keys(merge({ c = 1 }, { d = 2 })), values({ e = "f" })]))
    FILE = basename("dist/app.tar")
    TRIM = trim("--x--", "-")
    SUFFIX = trimsuffix("app.tar", ".tar")
    LONG = strlen("four")
    WHEN = timestamp()
  }
}
"#;

const JSON: &str = r#"{
  "variable": {"TAG": {"default": "dev"}},
  "group": {"default": {"targets": ["db", "webapp"]}},
  "target": {
    "db": {"context": ".", "dockerfile": "db.Dockerfile", "tags": ["db:${TAG}"]},
    "webapp": {"args": {"buildno": 1}, "tags": ["web:${TAG}"], "secret": [{"id": "k", "src": "k.pem"}], "cache-from": ["x"]}
  }
}"#;

const COMPOSE: &str = r#"
name: shop
services:
  web:
    image: shop/web:${TAG:-dev}
    build:
      context: ./web
      dockerfile: Dockerfile.prod
      target: runtime
      args:
        - NODE_ENV=production
        - COMMIT
      additional_contexts:
        shared: ./shared
      cache_from:
        - shop/web:cache
      secrets:
        - npm
        - source: key
          target: signing
        - lost
      ssh:
        - default
      extra_hosts:
        - "db=10.0.0.1"
      platforms: [linux/amd64, linux/arm64]
      labels: { price: "$$5" }
      privileged: true
      x-own: 1
    ports: ["80:80"]
  api:
    build: ./api
    depends_on: [db]
  db:
    image: postgres:16
secrets:
  npm:
    environment: NPM_TOKEN
  key:
    file: ./key.pem
  lost:
    external: true
"#;

#[test]
fn functions_give_what_bakes_do_and_what_cannot_be_had_is_told() {
    insta::assert_snapshot!(imported(Kind::Hcl, FUNCTIONS));
}

#[test]
fn a_tool_with_cross_builds_keeps_its_variables_groups_and_inheritance() {
    insta::assert_snapshot!(imported(Kind::Hcl, TOOL));
}

#[test]
fn what_is_computed_is_computed_once_and_said() {
    insta::assert_snapshot!(imported(Kind::Hcl, COMPUTED));
}

#[test]
fn json_is_the_same_language() {
    insta::assert_snapshot!(imported(Kind::Json, JSON));
}

#[test]
fn the_builds_of_a_compose_file_are_targets() {
    insta::assert_snapshot!(imported(Kind::Compose, COMPOSE));
}

#[test]
fn what_is_no_such_file_is_told() {
    let all = [
        (Kind::Hcl, "target \"x\" {\n  tags = [\n}\n"),
        (Kind::Hcl, "target \"x\" {\n  matrix = \"a\"\n}\n"),
        (Kind::Json, "{"),
        (Kind::Json, "[]"),
        (Kind::Compose, "a: [b"),
        (Kind::Compose, "name: x\n"),
        (Kind::Compose, "services:\n  db:\n    image: x\n"),
    ];
    let shown: Vec<String> =
        all.iter().map(|(kind, text)| format!("{kind:?} {text:?}\n{}", imported(*kind, text))).collect();
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn a_place_is_the_line_of_the_last_word() {
    let text = "target \"web\" {\n  tags = []\n}\ntarget \"web-2\" {\n  cache-from = []\n  tags = []\n}\n";
    assert_eq!(line_of(text, &["target", "web", "tags"]), 2);
    assert_eq!(line_of(text, &["target", "web-2", "tags"]), 6);
    assert_eq!(line_of(text, &["target", "web-2", "from"]), 0);
}

proptest::proptest! {
    #[test]
    fn no_text_makes_a_reader_panic(
        parts in proptest::collection::vec(
            proptest::sample::select(vec!["target", "\"a\"", " ", "{", "}", "=", "[", "]", "${", "x", "?", ":", "\n", "matrix", "name", "variable", "default", "build:", "services:", "- "]),
            0..24,
        ),
    ) {
        let text = parts.concat();
        for kind in [Kind::Hcl, Kind::Json, Kind::Compose] {
            let _ = read(kind, &text).map(|project| written(&project, "FILE"));
        }
    }
}

//! How fast text becomes a document, a value or a verdict. The bound to hold: 50 MB/s for parsing.
//!
//! Most texts are made here, so that the numbers need no outside data; the corpus is read where it is.

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use kiln_dsl::ignore::Ignore;
use kiln_dsl::{expand, parser};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn main() {
    divan::main();
}

/// About a megabyte of instructions as they are found in real files.
fn dockerfile() -> String {
    let stage = r#"
# Everything that the build needs.
FROM --platform=$BUILDPLATFORM debian:bookworm-slim AS build
ARG VERSION=1.2.3
ENV PATH="/opt/bin:$PATH" LANG=C.UTF-8
WORKDIR /src
COPY --chown=1000:1000 package.json yarn.lock ./
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \
    apt-get update && \
    # only what is used
    apt-get install -y --no-install-recommends ca-certificates curl git make && \
    rm -rf /var/lib/apt/lists/*
RUN <<EOF
set -eu
make all VERSION=$VERSION
EOF
EXPOSE 8080 8443/tcp
HEALTHCHECK --interval=30s CMD curl -f http://localhost:8080/
CMD ["/opt/bin/server", "--listen", ":8080"]
"#;
    stage.repeat((1 << 20) / stage.len())
}

#[divan::bench]
fn parse(bencher: Bencher<'_, '_>) {
    let text = dockerfile();
    bencher.counter(BytesCount::of_str(&text)).bench(|| parser::parse(black_box(&text)));
}

/// The real Dockerfiles of the corpus (`KILN_CORPUS`), one by one; nothing where they are not there.
#[divan::bench]
fn parse_corpus(bencher: Bencher<'_, '_>) {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus");
    let path = std::env::var_os("KILN_CORPUS").map_or_else(beside, PathBuf::from).join("dockerfiles.jsonl");
    let lines = std::fs::read_to_string(path).unwrap_or_default();
    let case = |line: &str| serde_json::from_str::<serde_json::Value>(line).ok()?["text"].as_str().map(str::to_owned);
    let texts: Vec<String> = lines.lines().filter_map(case).collect();
    bencher
        .counter(BytesCount::new(texts.iter().map(String::len).sum::<usize>()))
        .bench(|| texts.iter().map(|text| parser::parse(black_box(text)).document.instructions.len()).sum::<usize>());
}

#[divan::bench]
fn parse_raw(bencher: Bencher<'_, '_>) {
    let text = dockerfile();
    bencher.counter(BytesCount::of_str(&text)).bench(|| parser::parse_raw(black_box(&text)));
}

#[divan::bench]
fn expand_words(bencher: Bencher<'_, '_>) {
    let vars: BTreeMap<String, String> = [("HOME".to_owned(), "/root".to_owned())].into();
    let text = "${HOME}/bin:\"$HOME/a b\":${NONE:-/usr/${HOME##*/}}:plain/text ".repeat(1_000);
    bencher.counter(BytesCount::of_str(&text)).bench(|| expand::word(black_box(&text), '\\', &vars));
}

#[divan::bench(args = ["node_modules\n.git\n**/*.log\ndist/**\n", "*\n!src\n!package*.json\n**/*.test.js\n"])]
fn ignore_paths(bencher: Bencher<'_, '_>, patterns: &str) {
    let ignore = Ignore::parse(patterns).expect("valid patterns");
    let paths: Vec<String> = (0..10_000).map(|n| format!("src/part{}/module{n}/index.js", n % 100)).collect();
    bencher
        .counter(ItemsCount::new(paths.len()))
        .bench(|| paths.iter().filter(|path| ignore.excluded(black_box(path.as_bytes()), false)).count());
}

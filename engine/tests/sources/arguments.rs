//! Build arguments that the builder itself understands, platforms, and triggers that need other stages.

use crate::support::{World, can_run};
use kiln_engine::api::Request;

fn with(args: &[(&str, &str)]) -> impl FnOnce(&mut Request) {
    let args = args.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    move |request| request.build_args = args
}

#[test]
fn an_argument_that_nobody_takes_is_named_and_one_without_effect_is_explained() {
    let world = World::with("ARG BASE=scratch\nFROM $BASE\nARG VERSION\nCOPY Dockerfile /\n");
    let args = [
        ("VERSON", "1"),
        ("VERSION", "1"),
        ("BASE", "scratch"),
        ("http_proxy", "http://proxy"),
        ("TARGETARCH", "arm64"),
        ("BUILDKIT_SYNTAX", "docker/dockerfile:1"),
        ("BUILDKIT_INLINE_CACHE", "1"),
        ("BUILDKIT_MULTI_PLATFORM", "0"),
        ("ZZZ", ""),
    ];
    let built = world.build(with(&args));
    built.ok();
    assert_eq!(
        built.warnings(),
        [
            "the build argument VERSON is not consumed: no ARG declares it; did you mean VERSION?",
            "the build argument BUILDKIT_SYNTAX has no effect: kiln is its own front end",
            "the build argument BUILDKIT_INLINE_CACHE has no effect: the store is the cache",
            "the build argument ZZZ is not consumed: no ARG declares it",
        ]
    );
}

#[test]
fn an_epoch_may_be_an_argument() {
    let world = World::with("FROM scratch\nCOPY Dockerfile /\n");
    let build = |world: &World| {
        let built = world.build(|request| {
            with(&[("SOURCE_DATE_EPOCH", "1600000000")])(request);
            request.want_image_id = true;
        });
        built.ok().results[0].image_id.unwrap()
    };
    let other = World::with("FROM scratch\nCOPY Dockerfile /\n");
    assert_eq!(build(&world), build(&other), "two stores, two times, one image");
    let error = world.build(with(&[("SOURCE_DATE_EPOCH", "yesterday")])).error();
    assert!(error.contains("SOURCE_DATE_EPOCH=yesterday"), "{error}");
}

#[test]
fn the_host_name_of_steps_is_an_argument_and_part_of_the_key() {
    if !can_run() {
        return;
    }
    let world = World::with("FROM kiln/host\nRUN cat /proc/sys/kernel/hostname\n");
    let build = |args: &[(&str, &str)]| {
        let built = world.build(with(args));
        built.ok();
        (built.log(), built.ran())
    };
    let named = [("BUILDKIT_SANDBOX_HOSTNAME", "builder-7")];
    assert_eq!(build(&[]), ("buildkitsandbox\n".to_owned(), 1));
    assert_eq!(build(&named), ("builder-7\n".to_owned(), 1));
    assert_eq!(build(&named).1, 0);
    assert_eq!(build(&[]).1, 0);
}

#[test]
fn another_platform_is_refused_before_anything_runs_and_built_where_nothing_has_to_run() {
    let world = World::with("FROM --platform=linux/s390x scratch\nCOPY Dockerfile /\nRUN true\n");
    if std::path::Path::new("/proc/sys/fs/binfmt_misc/qemu-s390x").exists() || std::env::consts::ARCH == "s390x" {
        return crate::support::skip("a machine that cannot run programs for s390x");
    }
    let built = world.build(|_| ());
    let error = built.error();
    assert!(
        error.contains("cannot build for platform \"linux/s390x\": [3/3] RUN true (line 3) runs its programs"),
        "{error}"
    );
    assert!(built.events.is_empty(), "{:?}", built.events);
    world.write("Dockerfile", "FROM scratch\nARG TARGETARCH\nCOPY Dockerfile /$TARGETARCH\n");
    world.build(|request| request.platforms = vec!["linux/s390x".to_owned()]).ok();
    assert_eq!(world.files().keys().collect::<Vec<_>>(), ["s390x"]);
}

#[test]
fn a_trigger_may_read_stages_that_nothing_else_needs() {
    let world = World::with(
        "FROM scratch AS tools\nCOPY Dockerfile /tool\nFROM scratch AS base\n\
         ONBUILD COPY --from=tools /tool /from-trigger\nFROM base\nCOPY Dockerfile /own\n",
    );
    world.build(|_| ()).ok();
    assert_eq!(world.files().into_keys().collect::<Vec<_>>(), ["from-trigger", "own"]);
}

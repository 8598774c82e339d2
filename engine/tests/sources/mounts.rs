//! Mounts of RUN: caches and what they begin with, secrets, ssh agents, binds and memory.
//!
//! Steps run on the host's own programs.

use crate::support::{World, can_run, skip};
use kiln_engine::api::{Secret, SecretSource, Ssh, SshSource};
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A world in which RUN works; `None` where it does not.
fn world() -> Option<World> {
    can_run().then(World::new)
}

#[test]
fn a_cache_begins_with_what_from_and_source_name_and_keeps_what_is_written() {
    let Some(world) = world() else { return };
    world.write("seed/dir/file", "seed\n");
    let dockerfile = |text: &str| {
        format!(
            "FROM scratch AS seeds\nCOPY --chown=3:4 --chmod=750 seed /s\nFROM kiln/host\n\
             RUN --mount=type=cache,target=/c,from=seeds,source=/s/dir cat /c/*; echo {text} >> /c/file; \
             stat -c '%a %u:%g' /c\n"
        )
    };
    let first = world.built(&dockerfile("one"));
    assert_eq!(first.log(), "seed\n750 3:4\n");
    assert_eq!(world.built(&dockerfile("two")).log(), "seed\none\n750 3:4\n");
    // Another beginning is another cache.
    world.write("seed/dir/file", "other\n");
    assert_eq!(world.built(&dockerfile("three")).log(), "other\n750 3:4\n");
}

#[test]
fn a_cache_is_named_by_its_id_its_owner_and_its_namespace_and_never_by_a_path() {
    let Some(world) = world() else { return };
    let run = |flags: &str, command: &str| {
        let dockerfile = format!("FROM kiln/host\nRUN --mount=type=cache,{flags} {command}\n");
        world.write("Dockerfile", dockerfile);
        let built = world.build(|_| ());
        built.ok();
        built.log()
    };
    run("target=/c", "echo a > /c/a");
    run("target=/d,id=/c", "echo b > /d/b");
    assert_eq!(run("target=/c/", "ls /c"), "a\nb\n", "the default id is the cleaned target");
    assert_eq!(run("target=/c,uid=5,gid=6,mode=0700", "stat -c '%a %u:%g' /c; ls /c"), "700 5:6\n");
    run("target=/c,id=../../../../etc", "touch /c/harmless");
    assert!(!std::path::Path::new("/etc/harmless").exists());
    assert!(!world.path("store/harmless").exists());
    assert_eq!(run("target=/c,ro", "touch /c/x 2>&1 || true; ls /c").lines().last(), Some("b"));

    world.write("Dockerfile", "FROM kiln/host\nRUN --mount=type=cache,target=/c ls /c; echo second\n");
    let built = world.build(|request| request.build_args = vec![("BUILDKIT_CACHE_MOUNT_NS".into(), "mine".into())]);
    built.ok();
    assert_eq!(built.log(), "second\n", "another namespace is another cache");
}

#[test]
fn the_source_of_a_cache_without_from_is_a_directory_inside_it_and_cannot_lead_out() {
    let Some(world) = world() else { return };
    let run = |line: &str| {
        world.write("Dockerfile", format!("FROM kiln/host\n{line}\n"));
        world.build(|_| ())
    };
    run("RUN --mount=type=cache,target=/c,id=x mkdir /c/in && echo hi > /c/in/f && ln -s / /c/out").ok();
    let inside = run("RUN --mount=type=cache,target=/d,id=x,source=in cat /d/f");
    inside.ok();
    assert_eq!(inside.log(), "hi\n");
    let out = run("RUN --mount=type=cache,target=/d,id=x,source=out ls /d");
    out.ok();
    assert_eq!(out.log(), "in\nout\n", "the link leads to the cache's own root");
    assert!(run("RUN --mount=type=cache,target=/d,id=x,source=none ls /d").result.is_err());
}

#[test]
fn locked_caches_are_taken_in_turn_and_never_block_each_other() {
    let Some(world) = world() else { return };
    let mount = |target: &str| format!("--mount=type=cache,sharing=locked,target={target}");
    let (a, b) = (mount("/a"), mount("/b"));
    let command = "test ! -e /a/busy && touch /a/busy && sleep 0.3 && rm /a/busy";
    world.built(&format!(
        "FROM kiln/host AS one\nRUN {a} {b} {command}\nFROM kiln/host AS two\nRUN {b} {a} {command}\n\
         FROM kiln/host AS three\nRUN {a} {a},id=/a {command} && true\n\
         FROM scratch\nCOPY --from=one /etc/passwd /1\nCOPY --from=two /etc/passwd /2\nCOPY --from=three /etc/passwd /3\n"
    ));
}

#[test]
fn waiting_for_a_locked_cache_ends_with_the_build() {
    let Some(world) = world() else { return };
    world.built("FROM kiln/host\nRUN --mount=type=cache,target=/c,sharing=locked true\n");
    let caches = fs::read_dir(world.path("store/caches")).unwrap().next().unwrap().unwrap().path();
    let holder = fs::File::open(caches).unwrap();
    holder.lock().unwrap();
    world.write("Dockerfile", "FROM kiln/host\nRUN --mount=type=cache,target=/c,sharing=locked echo now\n");
    let started = Instant::now();
    let cancel = kiln_engine::api::Cancel::new().unwrap();
    let stop = cancel.clone();
    let stopper = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        stop.cancel();
    });
    let built = world.build_until(&cancel, |_| ());
    assert!(matches!(built.result, Err(kiln_engine::api::BuildError::Cancelled)), "{built:?}");
    assert!(started.elapsed() < Duration::from_secs(30));
    stopper.join().unwrap();
    drop(holder);
    world.build(|_| ()).ok();
}

#[test]
fn a_secret_is_in_its_file_or_variable_and_nowhere_else() {
    let Some(world) = world() else { return };
    // In two halves, so that this file is no finding of its own.
    let value = ["correct-horse", "battery-staple"].join("-");
    fs::write(world.path("secret"), &value).unwrap();
    let given = |id: &str| Secret { id: id.to_owned(), source: SecretSource::File(world.path("secret")) };
    world.write(
        "Dockerfile",
        "FROM kiln/host\n\
         RUN --mount=type=secret,id=token stat -c '%a %u:%g' /run/secrets/token; cat /run/secrets/token\n\
         RUN --mount=type=secret,id=token,target=/t,mode=0444,uid=5,gid=6 stat -c '%a %u:%g' /t\n\
         RUN --mount=type=secret,id=token,env=TOKEN test ! -e /run/secrets/token && echo \"$TOKEN\" && \
         echo ${#TOKEN} > /length\n\
         RUN --mount=type=secret,id=token,env=TOKEN,target=/t test \"$(cat /t)\" = \"$TOKEN\"\n\
         RUN --mount=type=secret,id=token,env= test -n \"$token\"\n\
         RUN --mount=type=secret,id=absent test ! -e /run/secrets/absent\n",
    );
    let built = world.build(|request| request.secrets = vec![given("token")]);
    built.ok();
    assert_eq!(built.log(), "400 0:0\n***444 5:6\n***\n");
    assert_eq!(world.files()["length"].trim(), value.len().to_string());
    assert!(!world.out("run/secrets").exists() && !world.out("t").exists());

    // A step that fails says what failed, and not with what.
    world.write(
        "Dockerfile",
        "FROM kiln/host\nRUN --mount=type=secret,id=token,env=TOKEN echo \"$TOKEN\" >&2; sh -c \"exit 3\"\n",
    );
    let failed = world.build(|request| request.secrets = vec![given("token")]);
    let said = format!("{} {:?} {:?}", failed.error(), failed.events, built.events);
    fs::remove_file(world.path("secret")).unwrap();
    assert!(!said.contains(&value), "{said}");
    let found = Command::new("grep").args(["-raF", &value]).arg(world.path("")).output().unwrap();
    assert_eq!(found.status.code(), Some(1), "{}", String::from_utf8_lossy(&found.stdout));
}

#[test]
fn another_value_of_a_secret_is_no_reason_to_run_again() {
    let Some(world) = world() else { return };
    world.write("Dockerfile", "FROM kiln/host\nRUN --mount=type=secret,id=t cat /run/secrets/t > /dev/null\n");
    let build = |value: &str| {
        fs::write(world.path("secret"), value).unwrap();
        let source = SecretSource::File(world.path("secret"));
        world.build(|request| request.secrets = vec![Secret { id: "t".to_owned(), source }])
    };
    build("one").ok();
    assert_eq!(build("two").ran(), 0);
}

#[test]
fn what_a_mount_requires_and_was_not_given_is_named_with_the_way_out() {
    let Some(world) = world() else { return };
    let mut said = String::new();
    for mount in [
        "type=secret,id=token,required",
        "type=secret,id=token,required=true,env=T",
        "type=ssh,required",
        "type=ssh,id=ci,required=true",
    ] {
        world.write("Dockerfile", format!("FROM kiln/host\nRUN --mount={mount} true\n"));
        let built = world.build(|_| ());
        let place = built.result.as_ref().unwrap_err().place().unwrap().line();
        said += &format!("{}\nline {place}\n", built.error());
    }
    insta::assert_snapshot!(said);
}

#[test]
fn an_ssh_agent_is_lent_with_its_mode_and_owner_and_signs_but_takes_no_orders() {
    let Some(world) = world() else { return };
    let has = |name: &str| Command::new(name).arg("-?").stdin(Stdio::null()).output().is_ok();
    if !has("ssh-agent") || !has("ssh-add") || !has("ssh-keygen") {
        return skip("ssh-agent, ssh-add and ssh-keygen");
    }
    let key = world.path("key");
    let made =
        Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "test-key", "-f"]).arg(&key).status();
    assert!(made.unwrap().success());
    world.write(
        "Dockerfile",
        "FROM kiln/host\n\
         RUN --mount=type=ssh echo $SSH_AUTH_SOCK; stat -c '%a %u:%g' $SSH_AUTH_SOCK; ssh-add -l | grep -o test-key; \
         ssh-add -D 2>&1 | head -n1; ssh-add -l | grep -o test-key\n\
         RUN --mount=type=ssh,target=/a,mode=0666,uid=7,gid=8 stat -c '%n %a %u:%g' $SSH_AUTH_SOCK\n\
         RUN --mount=type=ssh,id=absent test ! -e $SSH_AUTH_SOCK\n",
    );
    let source = SshSource::Keys(vec![key.clone()]);
    let built = world.build(|request| request.ssh = vec![Ssh { id: "default".to_owned(), source }]);
    built.ok();
    let log = built.log();
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines[..3], ["/run/buildkit/ssh_agent.0", "600 0:0", "test-key"], "{log}");
    assert!(lines[3].contains("Failed"), "{log}");
    assert_eq!(lines[4..], ["test-key", "/a 666 7:8"], "{log}");
    assert!(!world.out("run/buildkit").exists());

    let private = fs::read_to_string(&key).unwrap();
    let secret = private.lines().nth(2).unwrap().to_owned();
    fs::remove_file(&key).unwrap();
    let found = Command::new("grep").args(["-rqF", &secret]).arg(world.path("")).status().unwrap();
    assert_eq!(found.code(), Some(1), "a part of the key is in the store or the result");
}

#[test]
fn binds_discard_what_is_written_and_memory_has_its_size() {
    let Some(world) = world() else { return };
    world.write("dir/file", "x");
    let built = world.built(
        "FROM kiln/host\n\
         RUN --mount=type=bind,source=dir,target=/b touch /b/new 2>/dev/null || echo read-only\n\
         RUN --mount=type=bind,source=dir,target=/b,rw touch /b/new && ls /b\n\
         RUN --mount=type=bind,source=dir,target=/b ls /b\n\
         RUN --mount=type=tmpfs,target=/m,size=1m head -c 2000000 /dev/zero > /m/f 2>/dev/null || stat -c %s /m/f\n",
    );
    assert_eq!(built.log(), "read-only\nfile\nnew\nfile\n1048576\n");
    assert!(!world.out("b").exists() && !world.out("m").exists());
    assert!(!world.context().join("dir/new").exists());
}

#[test]
fn an_insecure_step_has_what_the_builder_has_where_it_is_allowed() {
    let Some(world) = world() else { return };
    use kiln_engine::api::Entitlement;
    let capabilities = "grep CapBnd /proc/self/status";
    world.write("Dockerfile", format!("FROM kiln/host\nRUN {capabilities}\nRUN --security=insecure {capabilities}\n"));
    assert!(world.build(|_| ()).error().contains("--allow security.insecure"));
    let built = world.build(|request| request.allow = vec![Entitlement::SecurityInsecure]);
    built.ok();
    let log = built.log();
    let lines: Vec<&str> = log.lines().collect();
    assert!(lines[0].ends_with("00000000a80425fb") && lines[1] != lines[0], "{log}");
    world.write("Dockerfile", "FROM kiln/host\nRUN --network=host true\n");
    assert!(world.build(|_| ()).error().contains("--allow network.host"));
    world.build(|request| request.allow = vec![Entitlement::NetworkHost]).ok();
    world.build(|request| request.network = kiln_engine::api::NetworkMode::Host).ok();
}

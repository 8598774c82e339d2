//! The bytes of configurations that Docker 26.1 (BuildKit) wrote.

use super::*;

/// FROM a base made by `docker import`, with every instruction that changes the configuration.
const FULL: &str = r##"{"architecture":"amd64","author":"me \u003cme@x\u003e","config":{"User":"nobody:nogroup","ExposedPorts":{"443/udp":{},"80/tcp":{}},"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin","E=f","G=h i","LEG=a b  c"],"Entrypoint":["/bin/e","x y"],"Cmd":["a","b\"c","é\u003c\u0026"],"Volumes":{"/data":{},"/v1":{}},"WorkingDir":"/bin","Labels":{"l":"1","m":"two words"},"StopSignal":"SIGUSR1","ArgsEscaped":true,"Healthcheck":{"Test":["CMD","a","b c"],"Interval":1500000000},"OnBuild":["RUN echo x","COPY a b"],"Shell":["/bin/ash","-e","-c"]},"created":"2026-11-24T04:30:09.358565175Z","history":[{"created":"2026-11-24T04:01:44.57801701Z","comment":"Imported from -"},{"created":"2026-11-24T04:30:06.281357885Z","created_by":"MAINTAINER me \u003cme@x\u003e","comment":"buildkit.dockerfile.v0","empty_layer":true},{"created":"2026-11-24T04:30:06.281357885Z","created_by":"RUN |4 A=cli NOVAL= C=1 D=2 /bin/sh -c echo hi   \u003e  /x \u0026\u0026     true # buildkit","comment":"buildkit.dockerfile.v0"}],"os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:92bcb9a3f7e00e4bb68a9550dfc9b619f02828a06b042522f20a88326710ebc3","sha256:afd19518689d067f82f530e33b755fa7d1f17ba63e673eef8d6d7480416e8cc8"]}}"##;

/// FROM scratch, COPY. Its image id was
/// sha256:9acf906bbdcb221702587cdc8bf091bbe81e5d3f94a7d7132bb5cdb4479a0901.
const SCRATCH: &str = r#"{"architecture":"amd64","config":{"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],"WorkingDir":"/"},"created":"2026-11-24T04:26:31.902150802Z","history":[{"created":"2026-11-24T04:26:31.902150802Z","created_by":"COPY src.txt / # buildkit","comment":"buildkit.dockerfile.v0"}],"os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:6144c5744b6cae71b44318647d96de16bc6998a49a24773b00f0efc7f634863b"]}}"#;

#[test]
fn what_docker_wrote_is_written_again_byte_for_byte() {
    for json in [FULL, SCRATCH] {
        let config = ImageConfig::read_base(json.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(config.to_json()).unwrap(), json);
    }
}

#[test]
fn an_image_from_scratch_has_the_id_that_docker_gave_it() {
    let mut config = ImageConfig::scratch("amd64", "linux", "");
    let time = Timestamp::parse("2026-11-24T04:26:31.902150802Z");
    config.history.push(History::of_instruction("COPY src.txt / # buildkit".to_owned(), time));
    let diff_id = "sha256:6144c5744b6cae71b44318647d96de16bc6998a49a24773b00f0efc7f634863b";
    config.rootfs.diff_ids.push(Sha256::parse(diff_id).unwrap());
    config.complete_times();
    let id = "sha256:9acf906bbdcb221702587cdc8bf091bbe81e5d3f94a7d7132bb5cdb4479a0901";
    assert_eq!(config.id().to_string(), id);
}

#[test]
fn entries_without_a_layer_take_the_time_of_the_layer_before_or_of_the_first_new_one() {
    let at = |seconds| Some(Timestamp::new(seconds, 0));
    let config = |times: &[Option<i64>]| {
        let entry = |time: &Option<i64>| History { created: time.and_then(at), ..History::default() };
        let mut config = ImageConfig { history: times.iter().map(entry).collect(), ..ImageConfig::default() };
        config.complete_times();
        let times: Vec<_> = config.history.iter().map(|entry| entry.created.map(|time| time.seconds())).collect();
        (times, config.created.map(|time| time.seconds()))
    };
    let some = |times: &[i64]| times.iter().copied().map(Some).collect::<Vec<_>>();
    // A base's layer, MAINTAINER, RUN, WORKDIR /, COPY.
    assert_eq!(config(&[Some(1), None, Some(5), None, Some(9)]), (some(&[1, 5, 5, 5, 9]), Some(9)));
    assert_eq!(config(&[Some(1), Some(2), None]), (some(&[1, 2, 2]), Some(2)));
    assert_eq!(config(&[None, None]), (vec![None, None], None));
}

#[test]
fn an_epoch_moves_later_times_only() {
    let mut config = ImageConfig::read_base(FULL.as_bytes()).unwrap();
    config.clamp_times(1_795_492_905);
    let shown: Vec<_> = config.history.iter().map(|entry| entry.created.unwrap().to_string()).collect();
    assert_eq!(config.created.unwrap().seconds(), 1_795_492_905);
    assert_eq!(shown[0], "2026-11-24T04:01:44.57801701Z");
    assert!(shown[1..].iter().all(|time| time == "2026-11-24T04:01:45Z"), "{shown:?}");
}

#[test]
fn what_other_tools_wrote_is_read_and_not_inherited() {
    let json = r#"{"architecture":"arm64","variant":"v8","os":"linux","os.version":"1","container":"c0ffee",
        "docker_version":"18","custom":{"z":1,"a":2},"author":null,
        "config":{"Hostname":"h","Cmd":"sh","Env":null,"Volumes":null,"Entrypoint":null,"Memory":5,"Labels":null},
        "created":null,"history":null,"rootfs":{"type":"layers","diff_ids":null}}"#;
    let config = ImageConfig::read_base(json.as_bytes()).unwrap();
    assert_eq!(config.config.cmd, ["sh"]);
    let written = String::from_utf8(config.to_json()).unwrap();
    insta::assert_snapshot!(written, @r#"{"architecture":"arm64","config":{"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],"Cmd":["sh"]},"history":[],"os":"linux","os.version":"1","rootfs":{"type":"layers","diff_ids":[]},"variant":"v8"}"#);
}

#[test]
fn nonsense_is_an_error() {
    for json in ["", "[]", r#"{"created":"yesterday"}"#, r#"{"rootfs":{"diff_ids":["sha512:00"]}}"#, r#"{"config":3}"#]
    {
        assert!(ImageConfig::read_base(json.as_bytes()).is_err(), "{json}");
    }
}

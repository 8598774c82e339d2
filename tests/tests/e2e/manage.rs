//! The commands on images and the store, through the program itself, on an image that has a shell.

use kiln_tests::{has_tool, kiln_program};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// A store with the image `base`, which is busybox.
struct Place(tempfile::TempDir);

impl Place {
    /// `None` where there is no static busybox; where all tools must be there, that is a failure.
    fn new() -> Option<Self> {
        let busybox = has_tool("busybox")?;
        let place = Place(tempfile::tempdir().unwrap());
        let bin = place.path("rootfs/bin");
        std::fs::create_dir_all(&bin).unwrap();
        std::fs::copy(busybox, bin.join("busybox")).unwrap();
        for applet in ["sh", "sleep", "echo", "cat"] {
            std::os::unix::fs::symlink("busybox", bin.join(applet)).unwrap();
        }
        let mut tar = Command::new("tar");
        let tar = tar.arg("-C").arg(place.path("rootfs")).arg("-czf").arg(place.path("rootfs.tar.gz")).arg(".");
        assert!(tar.status().unwrap().success());
        place.done(&["import", "base", place.path("rootfs.tar.gz").to_str().unwrap()]);
        Some(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(kiln_program().unwrap());
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", self.path("home"));
        command.env("KILN_STORE", self.path("store")).args(args);
        command
    }

    fn kiln(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// What a command that succeeds prints.
    fn done(&self, args: &[&str]) -> String {
        let output = self.kiln(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, args: &[&str]) -> serde_json::Value {
        serde_json::from_str(&self.done(args)).unwrap()
    }

    fn context(&self, dockerfile: &str) -> String {
        let path = self.path("context");
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("Dockerfile"), dockerfile).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

#[test]
fn an_image_is_listed_told_renamed_and_taken_away() {
    let Some(place) = Place::new() else { return };
    let context =
        place.context("FROM base\nRUN echo 12345 > /x\nWORKDIR /w\nENV A=b\nCOPY Dockerfile .\nCMD [\"sh\"]\n");
    place.done(&["build", "-t", "app", &context]);
    let history = place.json(&["history", "app", "--format", "json"]);
    let rows: Vec<(String, u64, bool)> = history
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            let text = row["created_by"].as_str().unwrap().to_owned();
            (text, row["size"].as_u64().unwrap(), row["layer"].is_null())
        })
        .collect();
    let size = std::fs::metadata(place.path("context/Dockerfile")).unwrap().len();
    let busybox = std::fs::metadata(place.path("rootfs/bin/busybox")).unwrap().len();
    let expected = [
        ("CMD [\"sh\"]", 0, true),
        ("COPY Dockerfile . # buildkit", size, false),
        ("ENV A=b", 0, true),
        ("WORKDIR /w", 0, false),
        ("RUN /bin/sh -c echo 12345 > /x # buildkit", 6, false),
        ("", busybox, false),
    ];
    assert_eq!(rows, expected.map(|(text, size, empty)| (text.to_owned(), size, empty)));
    let images = place.json(&["images", "--format", "json"]);
    assert_eq!(images[0]["names"][0], "docker.io/library/app:latest");
    assert_eq!(images[0]["size"], busybox + size + 6);
    let key = images[0]["key"].as_str().unwrap();
    let found = place.json(&["inspect", &key[..12], "app"]);
    assert_eq!(found[0], found[1]);
    assert_eq!(found[0]["config"]["config"]["Env"][1], "A=b");
    assert_eq!(place.done(&["tag", "app", "team/app:2"]), "docker.io/team/app:2\n");
    assert_eq!(place.done(&["rmi", "app"]), "untagged docker.io/library/app:latest\n");
    assert_eq!(place.done(&["rmi", key]), format!("untagged docker.io/team/app:2\nforgot {key}\n"));
    let output = place.kiln(&["inspect", "bsae"]);
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "error: there is no image \"bsae\" in the store\nhelp: did you mean base?\n"
    );
    assert_eq!(place.done(&["fsck"]), "checked 1 images, 4 layers, 3 records, 0 blobs: no problems\n");
}

#[test]
fn a_prune_beside_a_running_build_takes_nothing_from_it() {
    let Some(place) = Place::new() else { return };
    let context = place.context("FROM base\nRUN echo one > /one\nRUN echo two > /two\n");
    place.done(&["build", "-t", "old", &context]);
    place.done(&["rmi", "old"]);
    // The first step hits, the second waits while the store is collected.
    let text = "FROM base\nRUN echo one > /one\nRUN sleep 1; cat /one > /three\nRUN cat /one /three\n";
    let context = place.context(text);
    let mut build = place.command(&["build", "-t", "new", &context]);
    let build = build.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(400));
    let report = place.done(&["prune", "--all"]);
    assert!(report.contains("in use by a running build"), "{report}");
    assert!(report.contains("RUN echo two"), "{report}");
    let output = build.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("[2/4] RUN echo one > /one ... hit"), "{said}");
    assert!(place.done(&["fsck"]).ends_with("no problems\n"));
    // Nothing uses it now, and the name keeps its layers.
    place.done(&["prune", "--all"]);
    assert_eq!(place.json(&["inspect", "new"])[0]["layers"].as_array().unwrap().len(), 4);
}

#[test]
fn what_is_damaged_is_found_and_made_again() {
    let Some(place) = Place::new() else { return };
    let context = place.context("FROM base\nRUN echo one > /one\nRUN echo two > /two\n");
    place.done(&["build", "-t", "app", &context]);
    let layer = place.json(&["inspect", "app"])[0]["layers"][1].as_str().unwrap().trim_start_matches("b3:").to_owned();
    std::fs::write(place.path("store/layers").join(layer).join("one"), "eno\n").unwrap();
    let output = place.kiln(&["fsck"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.code() == Some(1) && said.contains("/one has another content"), "{said}");
    assert!(place.done(&["fsck", "--repair"]).contains("(repaired)"));
    let output = place.kiln(&["build", "-t", "app", &context]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("[2/3] RUN echo one > /one ... miss"), "{said}");
    assert!(said.contains("[3/3] RUN echo two > /two ... hit"), "{said}");
    assert!(place.done(&["fsck"]).ends_with("no problems\n"));
}

//! The forms in which an image leaves, and that they are the same twice.

use kiln_tests::{Kiln, Project};

fn project() -> Project {
    let text = "FROM kiln/host AS tools\nRUN mkdir /made && echo made > /made/file && chmod 600 /made/file\n\
        FROM scratch\nCOPY --from=tools /made /made\nCOPY --chmod=755 run.sh /\nENV A=1\nCMD [\"/run.sh\"]\n";
    Project::new(&[("Dockerfile", text), ("run.sh", "#!/bin/sh\n")])
}

#[test]
fn built_twice_from_nothing_with_a_fixed_time_the_image_id_is_the_same() {
    let project = project();
    let id = || {
        let kiln = Kiln::new().env("SOURCE_DATE_EPOCH", "1700000000");
        // Times are in no digest but the tar's: another one must not show.
        std::thread::sleep(std::time::Duration::from_millis(1100));
        kiln.run(["build".as_ref(), "-q".as_ref(), project.path().as_os_str()]).ok().stdout
    };
    let first = id();
    assert!(first.starts_with("sha256:"), "{first}");
    assert_eq!(first, id());
}

#[test]
fn a_local_output_is_the_files_of_the_image() {
    let (kiln, project) = (Kiln::new(), project());
    let dest = kiln.scratch().join("out");
    let output = format!("type=local,dest={}", dest.display());
    let _build = kiln.build(["-o".as_ref(), output.as_ref(), project.path().as_os_str()]).ok();
    assert_eq!(std::fs::read_to_string(dest.join("made/file")).unwrap(), "made\n");
    assert!(dest.join("run.sh").is_file());
}

#[test]
fn an_oci_layout_names_its_manifest_and_every_blob_is_what_its_name_says() {
    let (kiln, project) = (Kiln::new(), project());
    let dest = kiln.scratch().join("layout");
    let output = format!("type=oci,dest={},tar=false", dest.display());
    let _build = kiln.build(["-o".as_ref(), output.as_ref(), project.path().as_os_str()]).ok();
    let index: serde_json::Value = serde_json::from_slice(&std::fs::read(dest.join("index.json")).unwrap()).unwrap();
    assert!(index["manifests"][0]["digest"].as_str().unwrap().starts_with("sha256:"));
    for blob in std::fs::read_dir(dest.join("blobs/sha256")).unwrap() {
        let path = blob.unwrap().path();
        let digest = kiln_engine::digest::Sha256::of(&std::fs::read(&path).unwrap());
        assert_eq!(digest.to_hex(), path.file_name().unwrap().to_string_lossy());
    }
}

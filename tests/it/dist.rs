//! `./run.sh dist`, and `dist/importer` in the place of a build, with stand-ins for cargo and rustc.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use crate::{
    house,
    run_sh::{Place, text},
};

const SOURCE: &str = "src/main.rs";
/// What the stand-in for the program prints after its arguments.
const PROGRAM: &str = "importer 0.0.1";

/// What makes the compiler read a file, before the file's name.
const INCLUDES: [&str; 4] = ["#[path", "include!(", "include_str!(", "include_bytes!("];

/// A place with sources, where `cargo build` makes a script from the text of `src/main.rs`.
fn place() -> Place {
    let place = Place::new(&[]);
    place.tools(&["cp", "find", "mkdir", "mv", "rm", "sha256sum", "sort", "touch", "uname", "xargs"]);
    place.stand_in("rustc", "echo 'host: x86_64-unknown-linux-gnu'");
    place.stand_in(
        "cargo",
        r#"case "$*" in *"--profile dist"*) folder=target/x86_64-unknown-linux-gnu/dist;; *) folder=target/release;; esac
        mkdir -p $folder && cp src/main.rs $folder/importer"#,
    );
    // The root folder of a script would need a shell, so the program starts where it is.
    place.stand_in("chroot", "root=$1; shift 2; exec $root/importer \"$@\"");
    place.stand_in("unshare", "shift; exec \"$@\"");
    let program = format!(
        "#!{}\ncase $1 in --version) echo {PROGRAM};; *) echo \"${{0#$PWD/}} $*\";; esac\n",
        place.bin().join("bash").display()
    );
    place.program(&file(&place, SOURCE), &program);
    fs::write(file(&place, "Cargo.toml"), "version = \"0.0.1\"\n").unwrap();
    fs::write(file(&place, "Cargo.lock"), "").unwrap();
    fs::create_dir(file(&place, "state")).unwrap();
    fs::write(file(&place, "state/state.example.json"), "[]").unwrap();
    place
}

fn file(place: &Place, name: &str) -> PathBuf {
    place.folder.path().join(name)
}

/// A place where `./run.sh dist` has run.
fn built() -> Place {
    let place = place();
    let output = place.run(&["dist"], &[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    place
}

/// Whether `./run.sh status` builds the program although there is a `dist/importer`; the second value is what it says.
fn builds(place: &Place, variables: &[(&str, &str)]) -> (bool, String) {
    let before = place.calls().len();
    let output = place.run(&["status"], variables);
    let program = text(&output.stdout);
    let builds = match program.as_str() {
        "dist/importer status\n" => false,
        "target/release/importer status\n" => true,
        other => panic!("{other}{}", text(&output.stderr)),
    };
    let built = place.calls()[before..].iter().any(|call| call.starts_with("cargo build --release"));
    assert_eq!(builds, built);
    (builds, text(&output.stderr))
}

fn append(place: &Place, name: &str) {
    let path = file(place, name);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, text + "# changed\n").unwrap();
}

#[test]
fn dist_makes_a_static_program_that_has_run_on_an_empty_root_folder() {
    let place = built();
    let calls = place.calls();
    assert!(
        calls.contains(&"cargo build --profile dist --target x86_64-unknown-linux-gnu --locked".to_owned()),
        "{calls:?}"
    );
    for command in ["--version", "check", "demo"] {
        assert!(calls.contains(&format!("chroot dist/root /importer {command}")), "{calls:?}");
    }
    let files = fs::read_dir(file(&place, "dist")).unwrap().map(|entry| entry.unwrap().file_name());
    let mut files: Vec<_> = files.map(|name| name.into_string().unwrap()).collect();
    files.sort();
    assert_eq!(files, ["importer", "importer.sha256", "importer.sources"]);
}

#[test]
fn dist_keeps_no_program_that_fails_on_an_empty_root_folder() {
    for (command, said) in
        [("--version", "does not start on an empty root folder"), ("demo", "the demo failed")]
    {
        let place = place();
        place.stand_in(
            "chroot",
            &format!("[ $3 != {command} ] || exit 1; case $3 in --version) echo {PROGRAM};; esac"),
        );
        let output = place.run(&["dist"], &[]);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains(said), "{}", text(&output.stderr));
        assert!(!file(&place, "dist/importer").exists() && !file(&place, "dist/importer.sources").exists());
    }
}

#[test]
fn dist_refuses_sources_that_change_during_the_build() {
    let place = place();
    place.stand_in(
        "cargo",
        "mkdir -p target/x86_64-unknown-linux-gnu/dist; cp src/main.rs target/x86_64-unknown-linux-gnu/dist/importer
        touch src/new.rs",
    );
    let output = place.run(&["dist"], &[]);
    assert!(
        text(&output.stderr).contains("the sources changed during the build"),
        "{}",
        text(&output.stderr)
    );
    assert!(!file(&place, "dist/importer.sources").exists());
}

#[test]
fn dist_without_cargo_names_what_to_install() {
    let output = Place::new(&[]).run(&["dist"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("dist needs cargo"), "{}", text(&output.stderr));
}

#[test]
fn a_program_of_these_sources_runs_without_a_build_without_cargo_and_without_docker() {
    let place = built();
    assert_eq!(builds(&place, &[]), (false, String::new()));
    for tool in ["cargo", "rustc"] {
        fs::remove_file(place.bin().join(tool)).unwrap();
    }
    assert_eq!(builds(&place, &[]), (false, String::new()));
}

#[test]
fn a_program_of_other_sources_is_not_used() {
    for name in [SOURCE, "Cargo.toml", "Cargo.lock"] {
        let place = built();
        append(&place, name);
        let (builds, said) = builds(&place, &[]);
        assert!(builds && said.contains("it was built from other sources or features"), "{name}: {said}");
    }
    for (from, to) in [(SOURCE, "src/lib.rs"), ("Cargo.lock", "src/Cargo.lock")] {
        let place = built();
        fs::copy(file(&place, from), file(&place, to)).unwrap();
        assert!(builds(&place, &[]).0, "{to}");
    }
    let place = built();
    assert!(builds(&place, &[("IMPORTER_FEATURES", "jq")]).0);
    fs::write(file(&place, ".env"), "IMPORTER_FEATURES=jq").unwrap();
    assert!(builds(&place, &[]).0);
    assert!(place.run(&["dist"], &[]).status.success());
    assert!(!builds(&place, &[]).0);
}

#[test]
fn a_build_that_is_asked_for_is_made() {
    let place = built();
    assert!(builds(&place, &[("IMPORTER_RUNTIME", "cargo")]).0);
    let before = place.calls().len();
    assert!(place.run(&["build"], &[]).status.success());
    assert_eq!(place.calls()[before..], ["cargo build --release --locked"]);
}

#[test]
fn a_damaged_program_is_not_used() {
    let place = built();
    append(&place, "dist/importer");
    let (is_built, said) = builds(&place, &[]);
    assert!(is_built && said.contains("it is damaged") && said.contains("./run.sh dist"), "{said}");
    for name in ["importer.sha256", "importer.sources"] {
        let place = built();
        fs::remove_file(file(&place, "dist").join(name)).unwrap();
        assert!(builds(&place, &[]).0, "{name}");
    }
}

#[test]
fn the_digest_covers_every_file_from_which_the_program_is_built() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in ["build.rs", ".cargo", "rust-toolchain", "rust-toolchain.toml"] {
        assert!(!root.join(name).exists(), "{name} is not in the digest of run.sh");
    }
    let sources = root.join("src");
    // Tests are no part of the program.
    for (name, text) in house::sources().into_iter().filter(|(name, _)| !name.ends_with("_tests.rs")) {
        for (at, _) in INCLUDES.iter().flat_map(|include| text.match_indices(include)) {
            let path = text[at..].split('"').nth(1).unwrap();
            let path = sources.join(&name).parent().unwrap().join(path).canonicalize().unwrap();
            assert!(path.starts_with(&sources), "{name}: {} is not in the digest of run.sh", path.display());
        }
    }
}

/// Docker builds with the same script, and gets the optional features that the caller names.
#[test]
fn the_image_has_the_static_program_with_the_features_that_are_asked_for() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dockerfile = fs::read_to_string(root.join("Dockerfile")).unwrap();
    assert!(dockerfile.contains("\nARG FEATURES=\nRUN IMPORTER_FEATURES=\"$FEATURES\" ./run.sh dist "));
    assert!(dockerfile.contains("\nFROM scratch\nCOPY --from=builder /image/ /\n"));
    let ignored = fs::read_to_string(root.join(".dockerignore")).unwrap();
    assert!(ignored.lines().any(|line| line == "/dist"));
    let place = Place::new(&["docker"]);
    let output: Output = place.run(&["build"], &[("IMPORTER_FEATURES", "jq")]);
    assert!(output.status.success());
    assert_eq!(place.calls()[1..], ["docker build --build-arg FEATURES=jq --tag importer ."]);
}

//! `run.sh`, with stand-ins for docker and cargo that record how they were called.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// A copy of the files that `run.sh` needs, and a PATH with only the stand-ins and the standard tools.
pub struct Place {
    pub folder: tempfile::TempDir,
}

impl Place {
    pub fn new(stand_ins: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        for name in ["run.sh", "Cargo.toml"] {
            fs::copy(root.join(name), folder.path().join(name)).unwrap();
        }
        let place = Place { folder };
        fs::create_dir_all(place.bin()).unwrap();
        place.tools(&["bash", "dirname", "id", "cat", "sed", "env", "printenv"]);
        for name in stand_ins {
            place.stand_in(name, "");
        }
        place
    }

    pub fn bin(&self) -> PathBuf {
        self.folder.path().join("bin")
    }

    /// Adds tools of this machine.
    pub fn tools(&self, names: &[&str]) {
        for name in names {
            let path = ["/usr/bin", "/bin"].map(|folder| Path::new(folder).join(name));
            let path = path.iter().find(|path| path.exists()).unwrap();
            std::os::unix::fs::symlink(path, self.bin().join(name)).unwrap();
        }
    }

    /// Adds a program that records its name and arguments, one call per line, and then runs `also`.
    pub fn stand_in(&self, name: &str, also: &str) {
        let calls = self.folder.path().join("calls");
        let script = format!("#!/usr/bin/env bash\necho \"{name} $*\" >>{}\n{also}\n", calls.display());
        self.program(&self.bin().join(name), &script);
    }

    pub fn program(&self, path: &Path, script: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, script).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub fn run(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        let mut command = Command::new(self.folder.path().join("run.sh"));
        command.args(arguments).env_clear().env("PATH", self.bin()).envs(variables.iter().copied());
        command.output().unwrap()
    }

    pub fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.folder.path().join("calls")).unwrap_or_default();
        let here = self.folder.path().canonicalize().unwrap();
        calls.replace(here.to_str().unwrap(), "HERE").lines().map(str::to_owned).collect()
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn without_a_command_the_usage_is_printed() {
    let output = Place::new(&[]).run(&[], &[]);
    assert_eq!(output.status.code(), Some(2));
    for command in ["demo", "go", "build", "test", "version"] {
        assert!(text(&output.stdout).contains(&format!("\n  {command} ")), "{command}");
    }
}

#[test]
fn the_version_needs_no_build() {
    let output = Place::new(&[]).run(&["version"], &[]);
    assert_eq!(text(&output.stdout), format!("importer {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn an_unknown_command_is_named() {
    let output = Place::new(&["cargo"]).run(&["og"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("there is no command 'og'"));
}

#[test]
fn without_docker_and_cargo_one_line_says_what_to_install() {
    let output = Place::new(&[]).run(&["go"], &[]);
    assert_eq!(output.status.code(), Some(2));
    let told = text(&output.stderr);
    assert!(
        told.contains("install Docker") && told.contains("or Rust") && told.lines().count() == 1,
        "{told}"
    );
}

#[test]
fn docker_is_used_where_an_engine_answers_and_cargo_where_none_does() {
    let place = Place::new(&["docker", "cargo"]);
    assert!(place.run(&["build"], &[]).status.success());
    assert_eq!(place.calls(), ["docker info", "docker build --tag importer ."]);
    let place = Place::new(&["cargo"]);
    place.stand_in("docker", "exit 1");
    assert!(place.run(&["build"], &[]).status.success());
    assert_eq!(place.calls(), ["docker info", "cargo build --release --locked"]);
}

#[test]
fn the_runtime_can_be_chosen() {
    for (runtime, expected) in
        [("docker", "docker build --tag importer ."), ("cargo", "cargo build --release --locked")]
    {
        let place = Place::new(&["docker", "cargo"]);
        assert!(place.run(&["build"], &[("IMPORTER_RUNTIME", runtime)]).status.success());
        assert_eq!(place.calls(), [expected]);
    }
    let output = Place::new(&["cargo"]).run(&["build"], &[("IMPORTER_RUNTIME", "podman")]);
    assert!(text(&output.stderr).contains("it must be docker or cargo"));
    let output = Place::new(&["cargo"]).run(&["build"], &[("IMPORTER_RUNTIME", "docker")]);
    assert!(text(&output.stderr).contains("there is no docker command"));
}

#[test]
fn in_docker_the_state_folder_is_mounted_the_caller_runs_and_no_key_is_in_the_arguments() {
    let place = Place::new(&[]);
    // The program names what it reads; a line that is no such name is left out.
    place.stand_in(
        "docker",
        r#"case "$*" in *" settings --names") printf '%s\n' MAILCHIMP_APIKEY MAILCHIMP_APIKEY_FILE OMETRIA_APIKEY \
        OMETRIA_APIKEY_ACME OMETRIA_APIKEY_ACME_FILE IMPORTER_VAR_HOST 'a[$(touch hacked)]' IMPORTER_SECRETS;; esac"#,
    );
    for name in ["key", "vault"] {
        fs::write(place.folder.path().join(name), "s3cr3t").unwrap();
    }
    let vault = place.folder.path().canonicalize().unwrap().join("vault").display().to_string();
    fs::write(place.folder.path().join(".env"), "OMETRIA_APIKEY=from-the-file\nIMPORTER_VAR_OTHER=a\n")
        .unwrap();
    let output = place.run(
        &["go", "--once"],
        &[
            ("MAILCHIMP_APIKEY", "s3cr3t-us1"),
            ("OMETRIA_APIKEY_ACME_FILE", "key"),
            ("IMPORTER_VAR_HOST", "host"),
            ("IMPORTER_SECRETS", &vault),
            ("HOME", "/root"),
            ("SUDO_UID", "501"),
            ("SUDO_GID", "20"),
        ],
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    let calls = place.calls();
    let mounted = "--user 501:20 --volume HERE/state:/opt/ometria/state";
    assert_eq!(
        calls[1..],
        [
            "docker build --tag importer .".to_owned(),
            format!("docker run --rm {mounted} importer settings --names"),
            format!(
                "docker run --rm --init {mounted} --env MAILCHIMP_APIKEY --env OMETRIA_APIKEY --env OMETRIA_APIKEY_ACME_FILE \
                 --volume HERE/key:HERE/key:ro --env IMPORTER_VAR_HOST --env IMPORTER_SECRETS --volume HERE/vault:HERE/vault:ro \
                 importer go --once"
            ),
        ]
    );
    assert!(calls.iter().all(|call| !call.contains("s3cr3t")));
    assert!(!place.folder.path().join("hacked").exists());
}

#[test]
fn in_docker_a_file_of_a_key_that_does_not_exist_is_named() {
    let place = Place::new(&[]);
    place.stand_in("docker", r#"case "$*" in *" settings --names") echo MAILCHIMP_APIKEY_FILE;; esac"#);
    let output = place.run(&["go"], &[("MAILCHIMP_APIKEY_FILE", "/absent/key")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("MAILCHIMP_APIKEY_FILE names /absent/key, which does not exist"));
}

#[test]
fn in_docker_another_state_folder_is_refused_rather_than_ignored() {
    let output = Place::new(&["docker"]).run(&["go", "--state", "elsewhere"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("always ./state"));
}

#[test]
fn tests_run_in_an_image_of_their_own() {
    let place = Place::new(&["docker"]);
    assert!(place.run(&["test"], &[]).status.success());
    assert_eq!(
        place.calls()[1..],
        ["docker build --target test --tag importer-test .", "docker run --rm --init importer-test"]
    );
}

#[test]
fn the_env_file_is_read_without_being_executed_and_the_environment_wins() {
    let place = Place::new(&["cargo"]);
    let env =
        "# keys\nMAILCHIMP_APIKEY=a=b $(touch hacked)-us1\n\nOMETRIA_APIKEY=from-the-file\nOMETRIA_RATE=4";
    fs::write(place.folder.path().join(".env"), env).unwrap();
    let program = place.folder.path().join("target/release/importer");
    place.program(
        &program,
        "#!/usr/bin/env bash\necho \"$*\"; printenv MAILCHIMP_APIKEY OMETRIA_APIKEY OMETRIA_RATE\n",
    );
    let output = place.run(&["go", "--once"], &[("OMETRIA_APIKEY", "from-the-environment")]);
    assert_eq!(text(&output.stdout), "go --once\na=b $(touch hacked)-us1\nfrom-the-environment\n4\n");
    assert!(!place.folder.path().join("hacked").exists());
}

#[test]
fn a_line_of_the_env_file_that_says_nothing_is_named() {
    let place = Place::new(&["cargo"]);
    fs::write(place.folder.path().join(".env"), "OMETRIA_APIKEY=a\nMAILCHIMP_APIKEY: b\n").unwrap();
    let output = place.run(&["go"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains(".env line 2 is not NAME=value"), "{}", text(&output.stderr));
}

#[test]
fn the_image_is_run_by_an_ordinary_user_and_no_key_or_list_is_sent_to_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dockerfile = fs::read_to_string(root.join("Dockerfile")).unwrap();
    let last_stage = dockerfile.rsplit("\nFROM ").next().unwrap();
    assert!(last_stage.contains("\nUSER 1000:1000\n"));
    assert!(!dockerfile.contains("APIKEY"));
    let ignored = fs::read_to_string(root.join(".dockerignore")).unwrap();
    for secret in ["/.env", "/state/*"] {
        assert!(ignored.lines().any(|line| line == secret), "{secret}");
    }
}

/// A build of `dev` is ready in half the time.
#[test]
fn the_demo_does_not_wait_for_an_optimized_build_and_uses_one_that_exists() {
    let place = Place::new(&["cargo"]);
    for (folder, build) in [
        ("debug", "cargo build --locked --features jq"),
        ("release", "cargo build --release --locked --features jq"),
    ] {
        let program = place.folder.path().join("target").join(folder).join("importer");
        place.program(&program, &format!("#!/usr/bin/env bash\necho \"{folder} $*\"\n"));
        let variables = [("IMPORTER_RUNTIME", "cargo"), ("IMPORTER_FEATURES", "jq")];
        let output = place.run(&["demo", "shifts"], &variables);
        assert_eq!(text(&output.stdout), format!("{folder} demo shifts\n"));
        assert_eq!(place.calls().last().unwrap(), build);
    }
}

#[test]
fn the_other_commands_of_the_program_are_handed_through() {
    let place = Place::new(&["cargo"]);
    let program = place.folder.path().join("target/release/importer");
    place.program(&program, "#!/usr/bin/env bash\necho \"importer $*\"\n");
    for arguments in [
        &["verify", "1a2d7ebf82"][..],
        &["preview", "1a2d7ebf82"],
        &["replay", "--dry-run"],
        &["check", "--json"],
        &["state", "log"],
        &["schema"],
    ] {
        let output = place.run(arguments, &[("IMPORTER_RUNTIME", "cargo")]);
        assert_eq!(text(&output.stdout), format!("importer {}\n", arguments.join(" ")));
    }
    let place = Place::new(&["docker"]);
    assert!(place.run(&["verify", "1a2d7ebf82"], &[]).status.success());
    let call = place.calls().pop().unwrap();
    assert!(call.contains("--volume HERE/state:/opt/ometria/state"), "{call}");
    assert!(call.ends_with(" importer verify 1a2d7ebf82"), "{call}");
}

#[test]
fn a_bench_measures_the_requested_rows_with_cargo() {
    let place = Place::new(&["cargo"]);
    assert!(place.run(&["bench", "1", "4"], &[("IMPORTER_RUNTIME", "cargo")]).status.success());
    assert_eq!(place.calls(), ["cargo bench --locked --bench table -- 1 4"]);
    let output = Place::new(&["docker"]).run(&["bench"], &[("IMPORTER_RUNTIME", "docker")]);
    assert!(!output.status.success() && text(&output.stderr).contains("bench needs cargo"));
}

#[test]
fn a_soak_runs_the_requested_number_of_worlds() {
    let place = Place::new(&[]);
    place.stand_in("cargo", "echo \"$SOAK_SEEDS from $SOAK_FROM\"");
    let output = place.run(&["soak", "30"], &[("IMPORTER_RUNTIME", "cargo"), ("SOAK_FROM", "7")]);
    assert!(text(&output.stdout).ends_with("30 from 7\n"), "{}", text(&output.stdout));
    assert_eq!(place.calls(), ["cargo test --locked --release --features sql --test it -- soak_of"]);
    let output = place.run(&["soak", "many"], &[("IMPORTER_RUNTIME", "cargo")]);
    assert!(!output.status.success() && text(&output.stderr).contains("found 'many'"));
}

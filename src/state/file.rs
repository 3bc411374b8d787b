//! The state file on disk: read whole, written whole. Blocking on purpose; callers use `spawn_blocking`.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::{
    document::{self, Edit, Overruled, Stamped},
    schema::{self, Finding, Snapshot},
};
use crate::base::fault::Fault;

/// The name of the state file in its folder.
pub const NAME: &str = "state.json";

/// One folder's state file.
#[derive(Debug, Clone)]
pub struct StateFile {
    path: PathBuf,
}

/// What became of an edit.
#[derive(Debug)]
pub struct Applied {
    /// The file as it is now.
    pub snapshot: Snapshot,
    /// Why the edit was not made, if it was not.
    pub overruled: Option<Overruled>,
}

impl StateFile {
    pub fn new(folder: &Path) -> Self {
        StateFile { path: folder.join(NAME) }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file. A [`Fault::Process`] says what is wrong with it and where.
    pub fn load(&self) -> Result<Snapshot, Fault> {
        let text = self.text()?;
        schema::read(&text).map_err(|finding| self.unusable(&finding))
    }

    /// Stamps one entry in the file as it is at this moment.
    pub fn apply(&self, edit: &Edit) -> Result<Applied, Fault> {
        let text = self.text()?;
        let (text, overruled) =
            match document::stamp(&text, edit).map_err(|finding| self.unusable(&finding))? {
                Stamped::Overruled(why) => (text, Some(why)),
                Stamped::Text(text) => {
                    self.replace(&text).map_err(|error| {
                        Fault::process(format!("could not write {}", self.shown()))
                            .because(error)
                            .hint("check the folder's rights and the free space")
                    })?;
                    (text, None)
                }
            };
        let snapshot = schema::read(&text).map_err(|finding| self.unusable(&finding))?;
        Ok(Applied { snapshot, overruled })
    }

    /// `path:line:column: text`, as compilers write it.
    pub fn tell(&self, finding: &Finding) -> String {
        format!("{}:{}:{}: {}", self.path.display(), finding.place.line, finding.place.column, finding.text)
    }

    fn text(&self) -> Result<String, Fault> {
        let bytes = fs::read(&self.path).map_err(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                return Fault::process(format!("could not read {}", self.shown())).because(error);
            }
            let example = self.path.with_file_name("state.example.json");
            let hint = if example.exists() {
                format!("copy {} there and put your lists into it", example.display())
            } else {
                "write `[{\"list_id\": \"…\"}]` into it, with the id of your list".into()
            };
            Fault::process(format!("there is no state file {}", self.shown())).hint(hint)
        })?;
        String::from_utf8(bytes).map_err(|error| {
            let valid = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned();
            let place = schema::place(&text, text.len());
            self.unusable(&Finding { place, text: "expected UTF-8 text".into() })
        })
    }

    fn unusable(&self, finding: &Finding) -> Fault {
        Fault::process(self.tell(finding)).hint("mend the file; it is read again at once")
    }

    fn shown(&self) -> String {
        format!("`{}`", self.path.display())
    }

    /// A new file beside the old one, complete on disk before it takes its name: a reader sees the old text or the new
    /// one, never a part. Mode and, through a symlink, place stay.
    fn replace(&self, text: &str) -> io::Result<()> {
        let target = fs::canonicalize(&self.path)?;
        let folder = target.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::Builder::new().prefix(".state.json.").tempfile_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file().set_permissions(fs::metadata(&target)?.permissions())?;
        file.as_file().sync_all()?;
        file.persist(&target)?;
        fs::File::open(folder)?.sync_all()
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the tests play the user, who saves as he likes")]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::{base::time, state::Stamp};

    fn folder(text: &str) -> (tempfile::TempDir, StateFile) {
        let folder = tempfile::tempdir().unwrap();
        let file = StateFile::new(folder.path());
        fs::write(&file.path, text).unwrap();
        (folder, file)
    }

    fn edit(file: &StateFile) -> Edit {
        let entry = file.load().unwrap().entries.remove(0);
        let latest_timestamp = time::parse("2019-10-21T10:00:00").unwrap();
        let stamp = Stamp { latest_timestamp, elapsed_seconds: 1.0, total_updates: 2 };
        Edit { entry: entry.id, was: entry.latest_timestamp, stamp }
    }

    #[test]
    fn a_write_keeps_the_mode_follows_a_symlink_and_leaves_nothing_beside() {
        let (folder, file) = folder(r#"[{"list_id": "a"}]"#);
        let real = folder.path().join("real.json");
        fs::rename(&file.path, &real).unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        symlink("real.json", &file.path).unwrap();
        let applied = file.apply(&edit(&file)).unwrap();
        assert_eq!(applied.overruled, None);
        assert!(fs::symlink_metadata(&file.path).unwrap().is_symlink());
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_to_string(&real).unwrap(), applied.snapshot.text);
        assert!(applied.snapshot.text.contains("2019-10-21T10:00:00"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn an_overruled_edit_writes_nothing() {
        let (_folder, file) = folder(r#"[{"list_id": "a"}]"#);
        let edit = edit(&file);
        let theirs = r#"[{"list_id": "a", "latest_timestamp": "2018-01-01T00:00:00"}]"#;
        fs::write(&file.path, theirs).unwrap();
        let applied = file.apply(&edit).unwrap();
        assert_eq!(applied.overruled, Some(Overruled::ByHand));
        assert_eq!(fs::read_to_string(&file.path).unwrap(), theirs);
    }

    #[test]
    fn an_unusable_file_says_where_and_what_to_do() {
        let (folder, file) = folder("[\n{\"list_id\" \"a\"}]");
        let told = file.load().unwrap_err().to_string().replace(folder.path().to_str().unwrap(), "state");
        assert_eq!(
            told,
            "state/state.json:2:12: expected a colon after the key (mend the file; it is read again at once)"
        );
        fs::write(&file.path, b"[\n \xff]").unwrap();
        assert!(file.load().unwrap_err().to_string().contains("state.json:2:2: expected UTF-8 text"));
    }

    #[test]
    fn a_missing_file_says_where_it_should_be_and_how_to_get_one() {
        let (folder, file) = folder("");
        fs::remove_file(&file.path).unwrap();
        let told = || file.load().unwrap_err().to_string().replace(folder.path().to_str().unwrap(), "state");
        assert_eq!(
            told(),
            "there is no state file `state/state.json` (write `[{\"list_id\": \"…\"}]` into it, with the id of your list)"
        );
        fs::write(folder.path().join("state.example.json"), "[]").unwrap();
        assert!(told().contains("copy state/state.example.json there"), "{}", told());
    }
}

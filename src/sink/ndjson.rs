//! Appends payloads to a file, one line of JSON per record. The lines are on disk before a batch counts as
//! accepted. The line of a deleted record is `{"key": …, "deleted": true}`. The smallest sink that stores its
//! records; copy it to write a new one.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::task::spawn_blocking;

use super::{
    Checked, Deletions, Delivery, Encoded, Prepared, Receipt, Rejection, Sink, SinkContext, SinkSpec,
    paths::{identity, is_ours, plain},
};
use crate::{
    base::{
        adapter::Chosen,
        fault::Fault,
        record::Payload,
        secret::Secret,
        spec::{Setting, Spec, ValueKind},
    },
    net::Unopened,
};

/// Lines per batch, which are synced to disk together.
const MAX_RECORDS: usize = 1000;
/// Bytes per unit of `rotate_mb`.
const MEGABYTE: u64 = 1_000_000;

pub const SPEC: Spec = Spec {
    settings: &[
        Setting::new(
            "path",
            ValueKind::Text,
            "File of the lines; out/<list_id>.ndjson if absent. A relative path begins in the folder of the state file.",
        )
        .identifies(),
        Setting::new(
            "rotate_mb",
            ValueKind::Whole { least: 1, most: None },
            "Maximum size of the file in millions of bytes; a full file is renamed.",
        )
        .default("100")
        .pace(),
    ],
    ..Spec::new("ndjson", "A file with a line of JSON for each record.")
};

/// Settings of an entry.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// Path of the file, relative to the folder of the state file. `None`: `out/<list_id>.ndjson`.
    path: Option<PathBuf>,
    /// Upper bound of the file, in million bytes. Before a batch would exceed it, the file is renamed and a
    /// new one begun. No file is ever deleted.
    rotate_mb: u64,
}

/// A file of lines, with rotation.
pub struct Ndjson {
    path: PathBuf,
    /// Upper bound of the file, in bytes.
    rotate: u64,
    /// Folder of the state file.
    folder: PathBuf,
}

impl Ndjson {
    pub fn open(chosen: &Chosen, wanted: &SinkContext) -> Result<Self, Unopened> {
        let Settings { path, rotate_mb } = chosen.settings(SPEC.settings)?;
        let path = path.unwrap_or_else(|| Path::new("out").join(format!("{}.ndjson", named(wanted.list_id))));
        if path.file_name().is_none() || path.as_os_str().as_encoded_bytes().ends_with(b"/") {
            return Err(format!("ndjson: `path` {} does not name a file", path.display()).into());
        }
        if is_ours(path.strip_prefix(wanted.folder).unwrap_or(&path)) {
            return Err(format!(
                "ndjson: `path` {} is reserved for importer; choose another, such as out/…",
                path.display()
            )
            .into());
        }
        if rotate_mb == 0 {
            return Err("ndjson: `rotate_mb` must be at least 1".to_owned().into());
        }
        let (path, folder) = (wanted.folder.join(path), wanted.folder.to_owned());
        Ok(Ndjson { path, rotate: rotate_mb.saturating_mul(MEGABYTE), folder })
    }
}

impl Sink for Ndjson {
    /// One batch at a time, so that an older version of a record precedes a newer one.
    fn spec(&self) -> SinkSpec {
        let (path, named) = (plain(&self.path), identity(&self.path, &self.folder));
        let spec = SinkSpec::new(Secret::new(named.clone()), named, MAX_RECORDS, 1);
        SinkSpec { deletions: Deletions::Sent, former_destination: Some(path), ..spec }
    }

    fn prepare(&self, payload: &Payload) -> Result<Prepared, Rejection> {
        Ok(prepared(payload))
    }

    fn deliver<'a>(&'a self, batch: &'a [Prepared]) -> BoxFuture<'a, Result<Delivery, Fault>> {
        let (path, folder, rotate, lines) =
            (self.path.clone(), self.folder.clone(), self.rotate, lines(batch));
        Box::pin(async move {
            let written = spawn_blocking(move || append(&path, &folder, &lines, rotate)).await;
            match written.unwrap_or_else(|error| Err(io::Error::other(error))) {
                Ok(()) => Ok(Delivery::accepted(Receipt::default())),
                Err(error) => Err(self.unwritable(error)),
            }
        })
    }

    /// Opens the file for writing if it exists, and otherwise checks that its folder can be created.
    fn check(&self) -> BoxFuture<'_, Result<Checked, Fault>> {
        let path = self.path.clone();
        Box::pin(async move {
            let checked = spawn_blocking(move || is_writable(&path)).await;
            checked
                .unwrap_or_else(|error| Err(io::Error::other(error)))
                .map(|()| Checked::default())
                .map_err(|error| self.unwritable(error))
        })
    }
}

impl Ndjson {
    fn unwritable(&self, error: io::Error) -> Fault {
        Fault::list(format!("could not append to `{}`", self.path.display()))
            .because(error)
            .hint("check the folder's permissions and the free disk space")
    }
}

/// Fails if the file can't be written, or if it does not exist and the nearest folder above it that exists is
/// no folder. Creates nothing.
fn is_writable(path: &Path) -> io::Result<()> {
    match OpenOptions::new().append(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let above = path.ancestors().skip(1).find(|folder| fs::symlink_metadata(folder).is_ok());
            fs::read_dir(above.unwrap_or(Path::new("/"))).map(|_| ())
        }
        opened => opened.map(|_| ()),
    }
}

/// Encodes a payload as one line of JSON, without its end.
pub fn prepared(Payload { key, body }: &Payload) -> Prepared {
    let line: Encoded = match body {
        // A raw value may span several lines, between its parts: a line break within a text is an escape.
        Some(body) if body.get().contains('\n') => {
            body.get().lines().map(str::trim_ascii).collect::<String>().into()
        }
        Some(body) => body.clone().into(),
        None => json!({"key": &**key, "deleted": true}).to_string().into(),
    };
    Prepared::new(key, line)
}

/// Formats a batch, one line per payload.
pub fn lines(batch: &[Prepared]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(batch.iter().map(|prepared| prepared.bytes.len() + 1).sum());
    for prepared in batch {
        lines.extend_from_slice(&prepared.bytes);
        lines.push(b'\n');
    }
    lines
}

/// Appends lines and syncs them to disk. Locks the file meanwhile: entries may share it, and a program that
/// waits for the lock never sees half of a batch.
fn append(path: &Path, folder: &Path, lines: &[u8], rotate: u64) -> io::Result<()> {
    // Rotation renames the file itself, not a link to it.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if fs::canonicalize(folder).is_ok_and(|folder| path.strip_prefix(folder).is_ok_and(is_ours)) {
        return Err(io::Error::other("it is a link to a path that is reserved for importer"));
    }
    let mut file = locked(path)?;
    end_last_line(&mut file)?;
    let length = file.metadata()?.len();
    if length > 0 && length.saturating_add(lines.len() as u64) > rotate {
        let rights = file.metadata()?.permissions();
        set_aside(path)?;
        file = locked(path)?;
        file.set_permissions(rights)?;
    }
    file.write_all(lines)?;
    file.sync_data()
}

/// Opens and locks the file. Another importer may have renamed it during the wait for the lock; then opens
/// the new one.
fn locked(path: &Path) -> io::Result<File> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    loop {
        let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        file.lock()?;
        if fs::metadata(path).is_ok_and(|named| file.metadata().is_ok_and(|ours| named.ino() == ours.ino())) {
            if file.metadata()?.len() == 0 {
                // The file may be new, so its folder is synced too.
                File::open(folder)?.sync_all()?;
            }
            return Ok(file);
        }
    }
}

/// Removes half a line that a crash left: it belongs to a batch that was not accepted and will be written
/// again. Ends a complete line, and any other text, with a newline.
fn end_last_line(file: &mut File) -> io::Result<()> {
    let length = file.metadata()?.len();
    let mut tail = Vec::new();
    let mut from = length;
    while from > 0 && !tail.contains(&b'\n') {
        let before = from.min(64 * 1024);
        from -= before;
        let mut part = vec![0; before as usize];
        file.seek(SeekFrom::Start(from))?;
        file.read_exact(&mut part)?;
        part.extend(&tail);
        tail = part;
    }
    let line = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    match &tail[line..] {
        [] => Ok(()),
        // A person wrote this line by hand.
        whole if serde_json::from_slice::<Map<String, Value>>(whole).is_ok() => file.write_all(b"\n"),
        half if is_torn(half) => file.set_len(length - half.len() as u64),
        // A person's own text.
        _ => file.write_all(b"\n"),
    }
}

/// Whether a line may be incomplete JSON. A number always counts, because it may be part of a longer one.
fn is_torn(line: &[u8]) -> bool {
    let words = ["true", "false", "null"];
    matches!(line[0], b'{' | b'[' | b'"' | b'-' | b'0'..=b'9')
        || words.iter().any(|word| word.as_bytes().starts_with(line))
}

/// Renames `out/a.ndjson` to `out/a.20261121T120000Z.ndjson`, the time of its last write, or to `…-2.ndjson`
/// if that exists.
fn set_aside(path: &Path) -> io::Result<()> {
    let now: DateTime<Utc> = fs::metadata(path)?.modified()?.into();
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().map(|text| format!(".{}", text.to_string_lossy())).unwrap_or_default();
    let stamp = now.format("%Y%m%dT%H%M%SZ");
    let free = (1..).map(|number| {
        let number = if number == 1 { String::new() } else { format!("-{number}") };
        path.with_file_name(format!("{stem}.{stamp}{number}{extension}"))
    });
    for other in free {
        // Unlike a rename, a link never replaces an existing file.
        match fs::hard_link(path, &other) {
            Ok(()) => return fs::remove_file(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Makes a file name of a list's id.
fn named(list_id: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let name: String = list_id.chars().map(plain).collect();
    if name.starts_with('.') { format!("_{name}") } else { name }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use serde_json::value::{RawValue, to_raw_value};

    use super::*;

    fn line(number: u32) -> Prepared {
        prepared(&payload(number))
    }

    fn payload(number: u32) -> Payload {
        Payload {
            key: number.to_string().into(),
            body: Some(to_raw_value(&json!({"n": number})).unwrap().into()),
        }
    }

    fn sink(folder: &Path, rotate: u64) -> Ndjson {
        Ndjson { path: folder.join("out").join("a.ndjson"), rotate, folder: folder.to_owned() }
    }

    fn text(folder: &Path) -> String {
        fs::read_to_string(folder.join("out/a.ndjson")).unwrap()
    }

    #[tokio::test]
    async fn each_record_is_a_line_and_a_deleted_one_is_marked() {
        let folder = tempfile::tempdir().unwrap();
        let sink = sink(folder.path(), MEGABYTE);
        let spread =
            RawValue::from_string("{\n  \"n\": 3.10,\r\n \"a\": [\n\"\\ud800\" ]\n}".into()).unwrap();
        let batch = [
            payload(1),
            Payload { key: "2".into(), body: None },
            Payload { key: "3".into(), body: Some(spread.into()) },
        ];
        let batch: Vec<Prepared> = batch.iter().map(|payload| sink.prepare(payload).unwrap()).collect();
        sink.deliver(&batch).await.unwrap();
        sink.deliver(&[line(4)]).await.unwrap();
        assert_eq!(
            text(folder.path()),
            "{\"n\":1}\n{\"deleted\":true,\"key\":\"2\"}\n{\"n\": 3.10,\"a\": [\"\\ud800\" ]}\n{\"n\":4}\n"
        );
        let mode = fs::metadata(folder.path().join("out/a.ndjson")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[tokio::test]
    async fn half_a_line_is_removed_and_a_complete_one_is_ended() {
        for (before, after) in [
            ("{\"n\":0}\n{\"n\":", "{\"n\":0}\n{\"n\":1}\n"),
            ("{\"n\":0}\n{\"n\":9}", "{\"n\":0}\n{\"n\":9}\n{\"n\":1}\n"),
            ("{\"n\":", "{\"n\":1}\n"),
            ("12", "{\"n\":1}\n"),
            ("tr", "{\"n\":1}\n"),
            ("the only copy of a letter", "the only copy of a letter\n{\"n\":1}\n"),
            ("", "{\"n\":1}\n"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir(folder.path().join("out")).unwrap();
            #[expect(clippy::disallowed_methods, reason = "a file of the test's own")]
            fs::write(folder.path().join("out/a.ndjson"), before).unwrap();
            sink(folder.path(), MEGABYTE).deliver(&[line(1)]).await.unwrap();
            assert_eq!(text(folder.path()), after, "{before:?}");
        }
    }

    #[tokio::test]
    async fn a_file_that_would_grow_too_big_is_renamed_and_nothing_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let sink = sink(folder.path(), 30);
        for number in 0..10 {
            sink.deliver(&[line(number)]).await.unwrap();
        }
        let mut found = String::new();
        let mut files: Vec<PathBuf> =
            fs::read_dir(folder.path().join("out")).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort_by_key(|file| (file.ends_with("a.ndjson"), file.to_string_lossy().len(), file.clone()));
        for file in &files {
            assert!(fs::metadata(file).unwrap().len() <= 30, "{file:?}");
            found += &fs::read_to_string(file).unwrap();
        }
        assert_eq!(files.len(), 4, "{files:?}");
        let mut lines: Vec<&str> = found.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, (0..10).map(|number| format!("{{\"n\":{number}}}")).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn through_a_link_the_file_is_renamed_with_its_permissions_and_the_link_stays() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().join("real.ndjson");
        fs::create_dir(folder.path().join("out")).unwrap();
        File::create(&real).unwrap().set_permissions(fs::Permissions::from_mode(0o644)).unwrap();
        std::os::unix::fs::symlink(&real, folder.path().join("out/a.ndjson")).unwrap();
        let sink = sink(folder.path(), 30);
        for number in 0..4 {
            sink.deliver(&[line(number)]).await.unwrap();
        }
        assert_eq!(text(folder.path()), "{\"n\":3}\n");
        assert!(fs::symlink_metadata(folder.path().join("out/a.ndjson")).unwrap().is_symlink());
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            3,
            "the link's folder, the file, one renamed file"
        );
    }

    #[tokio::test]
    async fn a_link_to_a_file_of_our_own_is_rejected() {
        let folder = tempfile::tempdir().unwrap();
        #[expect(clippy::disallowed_methods, reason = "a file of the test's own")]
        fs::write(folder.path().join("state.json"), "[]").unwrap();
        fs::create_dir(folder.path().join("out")).unwrap();
        std::os::unix::fs::symlink("../state.json", folder.path().join("out/a.ndjson")).unwrap();
        let fault = sink(folder.path(), MEGABYTE).deliver(&[line(1)]).await.unwrap_err().to_string();
        assert!(fault.contains("it is a link to a path that is reserved for importer"), "{fault}");
        assert_eq!(text(folder.path()), "[]");
    }

    #[tokio::test]
    async fn two_sinks_that_share_a_file_do_not_mix_their_lines() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (sink(folder.path(), 3000), sink(folder.path(), 3000));
        let write = |sink: Ndjson, from: u32| async move {
            for number in from..from + 100 {
                sink.deliver(&[line(number), line(number + 1000)]).await.unwrap();
            }
        };
        tokio::join!(write(one, 0), write(other, 500));
        let mut lines = 0;
        for file in fs::read_dir(folder.path().join("out")).unwrap() {
            let text = fs::read_to_string(file.unwrap().path()).unwrap();
            for line in text.lines() {
                serde_json::from_str::<Value>(line).unwrap();
                lines += 1;
            }
        }
        assert_eq!(lines, 400);
    }

    #[test]
    fn a_list_id_names_a_file_and_nothing_else() {
        for (list_id, name) in [("1a2d7ebf82", "1a2d7ebf82"), ("../a/b", "_.._a_b"), (".", "_.")] {
            assert_eq!(named(list_id), name);
        }
    }
}

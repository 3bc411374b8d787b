//! Reads the files that hold settings and credentials. An error gives the reason, and never contains a part of the
//! file.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Component, Path},
};

use rustix::fs::OFlags;

/// Upper bound of such a file, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// Returns the content of a file as text, without a final line break.
///
/// # Errors
///
/// The file can't be read, is no regular file (to read a pipe or a device could block), is larger than 64 KiB, or is
/// not UTF-8. The message completes "`path`, which …".
pub fn read(path: &Path) -> Result<String, String> {
    let file = open(path).map_err(|error| format!("can't be read: {}", reason(&error)))?;
    let metadata = file.metadata().map_err(|error| format!("can't be read: {}", reason(&error)))?;
    if !metadata.is_file() {
        return Err("is not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    let read = file.take(MAX_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| format!("can't be read: {}", reason(&error)))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("is larger than {} KiB", MAX_BYTES / 1024));
    }
    let mut text = String::from_utf8(bytes).map_err(|_| "is not a text in UTF-8".to_owned())?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

/// Opens a file for reading. Does not wait for the other end of a pipe.
fn open(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32;
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

/// Returns whether a name stays below a folder by its spelling: relative, without `..`, and no folder itself.
pub fn is_below(name: &str) -> bool {
    let mut parts = Path::new(name).components().peekable();
    let plain = parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(_)));
    plain && !name.ends_with('/') && !name.contains('\0')
}

/// Reads the file `name` below a folder. Links are followed, and have to stay below the folder.
///
/// # Errors
///
/// The name or a link leads out of the folder, or the file can't be read; see [`read`].
pub fn read_below(folder: &Path, name: &str) -> Result<String, String> {
    if !is_below(name) {
        return Err("is no path below that folder".to_owned());
    }
    let real =
        |path: &Path| path.canonicalize().map_err(|error| format!("can't be read: {}", reason(&error)));
    let (folder, path) = (real(folder)?, real(&folder.join(name))?);
    match path.starts_with(&folder) {
        true => read(&path),
        false => Err("is a link that leads out of that folder".to_owned()),
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test writes its files")]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn the_content_is_the_text_without_its_last_line_break() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        for (content, text) in
            [("k", "k"), ("k\n", "k"), ("k\r\n", "k"), ("k\n\n", "k\n"), (" k ", " k "), ("", "")]
        {
            fs::write(&path, content).unwrap();
            assert_eq!(read(&path).as_deref(), Ok(text));
        }
    }

    #[test]
    fn anything_but_a_small_regular_text_file_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("large"), vec![b'a'; 64 * 1024 + 1]).unwrap();
        fs::write(path("limit"), vec![b'a'; 64 * 1024]).unwrap();
        fs::write(path("binary"), [0xff, 0xfe]).unwrap();
        mknodat(CWD, path("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert_eq!(read(&path("limit")).map(|text| text.len()), Ok(64 * 1024));
        for (name, why) in [
            ("large", "is larger than 64 KiB"),
            ("binary", "is not a text in UTF-8"),
            ("pipe", "is not a regular file"),
            (".", "is not a regular file"),
            ("absent", "can't be read: no such file"),
            ("/dev/zero", "is not a regular file"),
        ] {
            assert_eq!(read(&path(name)), Err(why.to_owned()), "{name}");
        }
    }

    #[test]
    fn a_name_and_its_links_stay_below_the_folder() {
        let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = |name: &str| folder.path().join(name);
        fs::write(outside.path().join("key"), "s3cr3t").unwrap();
        fs::create_dir(path("..data")).unwrap();
        fs::write(path("..data/key"), "k").unwrap();
        symlink("..data/key", path("key")).unwrap();
        symlink(outside.path().join("key"), path("out")).unwrap();
        symlink(outside.path(), path("elsewhere")).unwrap();
        let no_path = Err("is no path below that folder");
        for (name, found) in [
            ("key", Ok("k")),
            ("..data/key", Ok("k")),
            ("out", Err("is a link that leads out of that folder")),
            ("elsewhere/key", Err("is a link that leads out of that folder")),
            ("absent", Err("can't be read: no such file")),
            ("../key", no_path),
            ("..data/../key", no_path),
            ("/etc/hostname", no_path),
            ("", no_path),
            (".", no_path),
            ("key/", no_path),
            ("ke\0y", no_path),
        ] {
            let expected = found.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(read_below(folder.path(), name), expected, "{name}");
        }
    }
}

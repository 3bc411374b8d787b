//! State folders of an earlier build, stored as files. Each test writes the same folder again, compares its
//! files and their JSON keys with the stored ones, and then continues from the stored folder.
//! `tests/fixtures/README.md` says when and how to write the folders again.

mod checkpoints;
mod linked;
mod records;
mod shape;
mod stopped;

use std::{
    collections::BTreeMap,
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use importer::state::layout::OURS;
use serde_json::{Map, Value};

use crate::places::dead_letter;
use crate::support::{OUT, World};

/// Names of the cache of the sink `ndjson`: the stored name, and the part before the digest of the sink's
/// path.
const KEPT_CACHE: &str = "unchanged-ndjson.redb";
const CACHE: &str = "unchanged-";

/// The contacts of Ometria, as `<collection> <id>`, with their consent and first name.
pub type Contacts = BTreeMap<String, String>;

/// The folders with fixtures: as version 0.1 wrote them, and as this one does.
pub const LAYOUTS: [&str; 2] = ["state", CURRENT];
pub const CURRENT: &str = "state-0.2";

/// Returns the folder of one fixture.
pub fn kept(layout: &str, name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(layout).join(name)
}

/// Stores the folder of a world as a fixture if `FIXTURES` is `write` or the fixture's name. Otherwise
/// compares its files and their keys with the fixture.
pub fn keep_or_compare(world: &World, name: &str) {
    let folder = world.folder.path();
    keep_or_compare_folder(folder, name, &contacts_of(world));
}

/// Does the same for any folder.
pub fn keep_or_compare_folder(folder: &Path, name: &str, contacts: &Contacts) {
    if is_written(name) {
        let _ = fs::remove_dir_all(kept(CURRENT, name));
        copy(folder, &kept(CURRENT, name));
        let lines = contacts.iter().map(|(key, value)| format!("{key}\t{value}\n"));
        fs::write(kept(CURRENT, &format!("{name}.contacts.txt")), lines.collect::<String>()).unwrap();
    }
    shape::assert_same(folder, name);
}

/// Returns a world whose state folder is a copy of the fixture, and the contacts of Ometria at the time of
/// the fixture.
pub fn restore(world: World, layout: &str, name: &str) -> (World, Contacts) {
    let contacts = restore_folder(world.folder.path(), world.folder.path(), layout, name);
    (world, contacts)
}

/// Replaces the content of `folder` with a copy of the fixture, and returns those contacts.
pub fn restore_folder(folder: &Path, home: &Path, layout: &str, name: &str) -> Contacts {
    assert!(kept(layout, name).is_dir(), "there is no fixture {name}; see tests/fixtures/README.md");
    for file in fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()) {
        // The folders themselves may be in use.
        if file.is_dir() {
            files(&file).iter().for_each(|file| fs::remove_file(file).unwrap())
        } else {
            fs::remove_file(file).unwrap()
        }
    }
    copy(&kept(layout, name), folder);
    let ours = digest(home);
    rename_caches(home, |cache| (cache == KEPT_CACHE).then(|| format!("{CACHE}{ours}.redb")));
    if layout == CURRENT {
        set_version(home);
    }
    let text = fs::read_to_string(kept(layout, &format!("{name}.contacts.txt"))).unwrap();
    let pairs = text.lines().map(|line| line.split_once('\t').unwrap());
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// Returns whether this fixture is to be written again.
fn is_written(name: &str) -> bool {
    env::var("FIXTURES").is_ok_and(|wanted| wanted == "write" || wanted == name)
}

/// Returns the digest in the name of the cache of the sink `ndjson`: that of the absolute path to which the
/// sink writes.
fn digest(home: &Path) -> String {
    let files = fs::read_dir(home.join(OUT)).into_iter().flatten();
    let file = files.map(|file| file.unwrap().path()).next().unwrap_or_default();
    let file = file.canonicalize().unwrap_or(file);
    format!("{:x}", md5::compute(format!("ndjson {}", file.display())))
}

fn rename_caches(home: &Path, renamed: impl Fn(&str) -> Option<String>) {
    for file in files(home) {
        if let Some(name) = renamed(file.file_name().unwrap().to_str().unwrap()) {
            fs::rename(&file, file.with_file_name(name)).unwrap();
        }
    }
}

/// Sets the version in checkpoints, which are valid only for the version that wrote them. The fixtures test
/// the format and outlive versions. Those of version 0.1 are taken over as they are.
fn set_version(home: &Path) {
    for file in files(home).into_iter().filter(|file| file.ends_with("checkpoint.ndjson")) {
        let text = fs::read_to_string(&file).unwrap();
        let (before, rest) = text.split_once(" importer ").unwrap();
        let (_, after) = rest.split_once('"').unwrap();
        fs::write(&file, format!("{before} importer {}\"{after}", env!("CARGO_PKG_VERSION"))).unwrap();
    }
}

/// Returns the files below a folder that belong into a fixture, sorted.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for path in fs::read_dir(folder).into_iter().flatten().map(|file| file.unwrap().path()) {
        match path.is_dir() {
            true => found.extend(files(&path)),
            // A lock and a status belong to a process, not to the state.
            false if path.file_name().is_some_and(|name| name != "lock" && name != "status.json") => {
                found.push(path)
            }
            false => {}
        }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        match fs::read_link(&file) {
            Ok(link) => symlink(link, target).unwrap(),
            Err(_) => fs::write(target, fs::read(&file).unwrap()).unwrap(),
        }
    }
}

fn shown(contact: &Map<String, Value>) -> String {
    let text = |field: &str| contact.get(field).and_then(Value::as_str).unwrap_or("-");
    format!("{} {}", text("marketing_optin"), text("firstname"))
}

/// Returns the contacts of Ometria.
pub fn contacts_of(world: &World) -> Contacts {
    let ometria = world.sandbox.ometria();
    let contacts = ometria.contacts().iter();
    contacts.map(|((collection, id), contact)| (format!("{collection} {id}"), shown(contact))).collect()
}

/// Checks that the two runs together have delivered every member as it is now. Returns the number of contacts
/// that the second run has sent again although they had not changed.
pub fn assert_delivered(world: &World, list_id: &str, collection: &str, before: &Contacts) -> usize {
    let now = contacts_of(world);
    let again = now.iter().filter(|(key, value)| before.get(*key) == Some(value)).count();
    let mut held: Contacts = before.clone();
    held.extend(now);
    held.retain(|key, _| key.split(' ').next() == Some(collection));
    let members: Vec<_> = world.sandbox.mailchimp().members(list_id).cloned().collect();
    for member in members.iter().filter(|member| member.status == "archived") {
        if let Some(left) = held.remove(&format!("{collection} {}", member.contact_id(list_id))) {
            assert!(left.starts_with("EXPLICITLY_OPTEDOUT"), "archived, and {left}");
        }
    }
    let expected = world.expected(list_id).into_iter().map(|member| {
        let consent = match member.status {
            "subscribed" => "EXPLICITLY_OPTEDIN",
            "unsubscribed" | "cleaned" => "EXPLICITLY_OPTEDOUT",
            _ => "-",
        };
        let first = if member.first.is_empty() { "-" } else { &member.first };
        (format!("{collection} {}", member.contact_id(list_id)), format!("{consent} {first}"))
    });
    let expected: Contacts = expected.collect();
    let missing: Vec<_> = expected.keys().filter(|key| !held.contains_key(*key)).collect();
    assert!(missing.is_empty(), "{} of {} are missing: {missing:?}", missing.len(), expected.len());
    assert_eq!(held, expected);
    again
}

/// Returns the path of one of importer's own files in a world.
pub fn own(world: &World, name: &str) -> PathBuf {
    world.folder.path().join(OURS).join(name)
}

/// Returns the dead letters of a list.
pub fn letters(folder: &Path, list_id: &str) -> Vec<Value> {
    let text = fs::read_to_string(dead_letter(folder, list_id)).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

//! The migration from version 0.1, whole and killed before each of its steps.

use std::{
    cell::Cell,
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use super::*;
use crate::{
    base::identity::ListId,
    store::{former::tests::write_list, records::look},
};

/// Returns a checkpoint of version 0.1.
fn old_checkpoint(origin: &str) -> String {
    let header = checkpoint::Header::new(&format!("{origin} importer 0.1.0"), vec![]);
    format!("{}\nhalf a line", serde_json::to_string(&header).unwrap())
}

fn old_letter(key: &str, entry: &str) -> String {
    format!(
        r#"{{"key":"{key}","entry":"{entry}","reason":"no_id","request_id":null,"time":"","payload":null}}"#
    ) + "\n"
}

fn delivery(sink: &str) -> DeliveryId {
    let list = ListId { source: "rows".into(), account: None, id: "a".into() };
    DeliveryId::new(list, sink, None, "there")
}

/// Makes a state folder of version 0.1: one list into two sinks, with everything that a run may leave, and a list
/// without an entry.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let ours = folder.path().join(".importer");
    let held = r#"{"entry":"a-one","what":"stopped","why":"too many"}"#;
    let files = [
        (format!("lists/a/held-{}.json", delivery("one").digest), held.to_owned()),
        ("lists/a-one/checkpoint.ndjson".to_owned(), old_checkpoint("one")),
        ("lists/a-0000/checkpoint.ndjson".to_owned(), old_checkpoint("older two")),
        ("lists/a-gone/checkpoint.ndjson".to_owned(), old_checkpoint("gone")),
        ("lists/b/ledger".to_owned(), "ledger of b".to_owned()),
    ];
    for (name, text) in &files {
        files::replace(&ours.join(name), text.as_bytes()).unwrap();
    }
    write_list(&ours.join("lists/a"), ["c1", "c2"]);
    let letters = [
        old_letter("k1", "a-one"),
        old_letter("k2", "a-0000"),
        old_letter("k3", "a-gone"),
        "no letter\n".into(),
    ];
    files::replace(&folder.path().join("dead-letter/a.ndjson"), letters.concat().as_bytes()).unwrap();
    folder
}

fn former(folder: &Path, number: usize) -> Former {
    let (sink, cache) = [("one", "c1"), ("two", "c2")][number];
    let delivery = delivery(sink);
    let entry = |name: &str, short: &str| FormerEntry {
        name: format!("a-{name}"),
        folders: vec![format!("a-{name}"), short.to_owned()],
        names: vec![format!("a-{name}"), short.to_owned()],
        recognized: vec![format!("{name} importer 0.1.0"), format!("older {name} importer 0.1.0")],
        run_fingerprint: format!("{name} importer new"),
    };
    let [one, two] = [entry("one", "a-ffff"), entry("two", "a-0000")];
    let (own, other) = if number == 0 { (one, two) } else { (two, one) };
    Former {
        events: Events::default(),
        ours: folder.join(".importer"),
        list: "a".into(),
        destination: "destination".into(),
        digests: FormerDigests { cache: cache.into(), delivery: delivery.digest.clone() },
        folder: folder.join(".importer/lists/a.rows").join(delivery.name()),
        dead_letter: folder.join("dead-letter").join(format!("{delivery}.ndjson")),
        delivery,
        entries: vec![own],
        others: other.names,
    }
}

/// Migrates as the controller does. `step` is called before each change on disk.
fn migrate(folder: &Path, step: Step) -> io::Result<()> {
    let ours = folder.join(".importer");
    if format::check(&ours).unwrap() || !rename(&ours, &folder.join("dead-letter"), step)? {
        return Ok(());
    }
    for number in 0..2 {
        adopt(&former(folder, number), step)?;
    }
    mark(&ours, &["a".to_owned()], step)
}

fn copy(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for (path, bytes) in tree(folder) {
        let path = copy.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::File::create(&path).and_then(|mut file| io::Write::write_all(&mut file, &bytes)).unwrap();
    }
    copy
}

fn tree(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = files::below(folder).unwrap().into_iter();
    files.map(|path| (path.strip_prefix(folder).unwrap().to_owned(), fs::read(&path).unwrap())).collect()
}

#[tokio::test]
async fn every_delivery_takes_over_its_files_and_the_old_ones_stay() {
    let folder = folder();
    let before = tree(folder.path());
    migrate(folder.path(), &|| Ok(())).unwrap();
    let after = tree(folder.path());
    for (path, bytes) in before {
        let path = path.display().to_string();
        let old =
            path.replace("/lists/", "/lists.before-0.2/").replace("dead-letter/", "dead-letter/before-0.2/");
        assert_eq!(after.get(Path::new(&old)), Some(&bytes), "{old}");
        assert!(!after.contains_key(Path::new(&path)), "{path}");
    }
    let text = |number: usize, name: &str| {
        fs::read_to_string(former(folder.path(), number).folder.join(name)).unwrap_or_default()
    };
    for (number, opted_out) in [(0, true), (1, false)] {
        let known = look(&former(folder.path(), number).folder, "a", &Events::default()).await.unwrap();
        assert_eq!(known.settled.map(|settled| settled.status.to_string()), Some("subscribed".into()));
        assert_eq!(known.cached.map(|cached| cached.opted_out()), Some(opted_out));
    }
    assert!(text(0, "held.json").contains("stopped") && text(1, "held.json").is_empty());
    for (number, name) in ["one", "two"].into_iter().enumerate() {
        let text = text(number, &format!("a-{name}/checkpoint.ndjson"));
        assert!(
            text.contains(&format!("\"{name} importer new\"")) && text.ends_with("half a line"),
            "{text}"
        );
        let letters = fs::read_to_string(former(folder.path(), number).dead_letter).unwrap();
        let own = if number == 0 { "k1" } else { "k2" };
        let keys: Vec<&str> = ["k1", "k2", "k3"].into_iter().filter(|key| letters.contains(*key)).collect();
        assert_eq!(keys, [own, "k3"], "{letters}");
        assert!(
            letters.contains(&format!("\"entry\":\"a-{name}\"")) && letters.contains("no letter"),
            "{letters}"
        );
        assert!(!letters.contains("a-gone") && !letters.contains("a-0000"), "{letters}");
    }
}

#[test]
fn a_migration_that_is_killed_before_any_step_ends_as_if_it_was_not() {
    let whole = folder();
    let steps = Cell::new(0);
    migrate(whole.path(), &|| {
        steps.set(steps.get() + 1);
        Ok(())
    })
    .unwrap();
    let expected = tree(whole.path());
    assert!(steps.get() > 12, "{}", steps.get());
    let new = folder();
    let kill = |folder: &Path, step: i32| {
        let left = Cell::new(step);
        let killed = migrate(folder, &|| {
            left.set(left.get() - 1);
            if left.get() < 0 { Err(io::Error::other("killed")) } else { Ok(()) }
        });
        assert!(killed.is_err() || format::check(&folder.join(".importer")).unwrap());
    };
    for first in 0..steps.get() {
        let killed = copy(new.path());
        kill(killed.path(), first);
        // A second kill, at any step after the first one.
        for second in 0..steps.get() {
            let folder = copy(killed.path());
            kill(folder.path(), second);
            migrate(folder.path(), &|| Ok(())).unwrap();
            assert_eq!(tree(folder.path()), expected, "killed before steps {first} and {second}");
        }
    }
}

#[test]
fn a_delivery_that_is_met_later_takes_over_its_hold_and_all_files_only_of_a_list_without_a_mark() {
    for marked in [true, false] {
        let folder = folder();
        let ours = folder.path().join(".importer");
        assert!(begin(&ours, &folder.path().join("dead-letter")).unwrap());
        let lists = if marked { vec!["a".to_owned()] } else { vec![] };
        finish(&ours, &lists).unwrap();
        assert!(!begin(&ours, &folder.path().join("dead-letter")).unwrap());
        let later = former(folder.path(), 0);
        assert!(adopt(&later, &|| Ok(())).unwrap());
        let has = |name: &str| later.folder.join(name).exists();
        assert!(has("held.json"));
        assert_eq!(
            (has("records.redb"), has("a-one/checkpoint.ndjson"), later.dead_letter.exists()),
            (!marked, !marked, !marked)
        );
        assert!(!adopt(&later, &|| Ok(())).unwrap(), "it has a folder now");
    }
}

#[test]
fn a_new_state_folder_has_nothing_to_take_over() {
    let folder = tempfile::tempdir().unwrap();
    let ours = folder.path().join(".importer");
    assert!(!begin(&ours, &folder.path().join("dead-letter")).unwrap());
    assert_eq!(tree(folder.path()).into_keys().collect::<Vec<_>>(), [Path::new(".importer/format")]);
}

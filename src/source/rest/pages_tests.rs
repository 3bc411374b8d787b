//! Tests of the pages: lists on servers that cap their pages, and that change while they are read.

use std::ops::Range;

use serde_json::json;

use super::*;

fn paging(pages: Pages) -> Paging {
    Paging { pages, limit: Some("limit".to_owned()), short_page_ends: false, reads_all: true }
}

fn offset() -> Paging {
    paging(Pages::Offset("offset".to_owned()))
}

fn number() -> Paging {
    paging(Pages::Number { parameter: "page".to_owned(), first: 1 })
}

fn cursor() -> Paging {
    paging(Pages::Cursor { parameter: "cursor".to_owned(), next: Path::new("next".to_owned()) })
}

/// Changes the rows of a list.
type Edit = fn(&mut Vec<u32>);

/// A list on a server that returns at most `cap` rows.
struct Server {
    rows: Vec<u32>,
    cap: usize,
    totals: bool,
    /// Edits of the list after the response with this number.
    edits: Vec<(usize, Edit)>,
}

impl Server {
    fn of(rows: u32) -> Self {
        Server { rows: (0..rows).collect(), cap: usize::MAX, totals: false, edits: vec![] }
    }
}

/// What a listing has read.
#[derive(Debug, Default)]
struct Read {
    rows: Vec<u32>,
    requests: usize,
    restarts: usize,
}

/// Reads a list by offset or by number, as the engine does: a position that repeats is an error.
fn read(paging: &Paging, mut server: Server, count: usize) -> Read {
    let (mut read, mut position, mut passed) = (Read::default(), paging.first(count), vec![]);
    loop {
        let (parameters, asked) = paging.parameters(position.as_ref(), count).unwrap();
        let value = |name: &str| {
            let found = parameters.iter().find(|(known, _)| known == name);
            found.and_then(|(_, value)| value.as_u64()).map(|value| value as usize)
        };
        let limit = value("limit").unwrap_or(20).min(server.cap);
        let begin = value("offset").or_else(|| value("page").map(|page| (page - 1) * limit)).unwrap();
        let rows: Vec<u32> = server.rows.iter().skip(begin).take(limit).copied().collect();
        let keys: Vec<String> = rows.iter().map(u32::to_string).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let total = server.totals.then_some(server.rows.len() as u64);
        let following =
            paging.follow(position.as_ref(), asked, Shown { keys: &keys, total, next: None }).unwrap();
        match following.records {
            Kept::All => read.rows.extend(rows),
            Kept::Without(index) => {
                read.rows.extend(rows.iter().enumerate().filter(|(at, _)| *at != index).map(|(_, row)| row));
            }
            Kept::None => {}
        }
        read.requests += 1;
        read.restarts += usize::from(following.begins_again);
        let now = read.requests;
        server.edits.iter().filter(|(at, _)| *at == now).for_each(|(_, edit)| edit(&mut server.rows));
        let Some(next) = following.next else { return read };
        let next = next.cursor();
        assert!(!passed.contains(&next), "{next:?} repeats");
        passed.push(next.clone());
        position = Some(Position::read(&next).unwrap());
        assert!(read.requests < 100, "it ends");
    }
}

#[test]
fn every_row_is_read_once_whatever_the_server_allows_and_the_end_is_certain() {
    for (paging, count) in [(offset(), 1), (offset(), 2), (offset(), 10), (number(), 10), (number(), 7)] {
        for rows in [0, 1, 2, 9, 10, 11, 20, 21, 35] {
            for cap in [1, 2, 5, usize::MAX] {
                for totals in [false, true] {
                    let read = read(&paging, Server { cap, totals, ..Server::of(rows) }, count);
                    let all: Vec<u32> = (0..rows).collect();
                    assert_eq!(read.rows, all, "{paging:?} {count} {rows} {cap} {totals}: {read:?}");
                }
            }
        }
    }
}

#[test]
fn a_short_page_ends_a_listing_only_if_a_total_confirms_it_or_the_entry_says_so() {
    let ends = |paging: Paging| Paging { short_page_ends: true, ..paging };
    for (paging, rows, totals, requests) in [
        (offset(), 15, false, 3),
        (offset(), 15, true, 2),
        (ends(offset()), 15, false, 2),
        // The second page repeats a row, so it is full.
        (offset(), 19, true, 3),
        (number(), 15, false, 3),
        (number(), 15, true, 2),
        (ends(number()), 15, false, 2),
        (number(), 20, false, 3),
        (ends(number()), 20, false, 3),
        (ends(number()), 0, false, 1),
        // No page was full, so the server may have a smaller limit.
        (ends(number()), 7, false, 2),
        (ends(offset()), 7, false, 2),
        (Paging { limit: None, ..number() }, 25, false, 3),
        (Paging { limit: None, ..number() }, 25, true, 2),
    ] {
        let read = read(&paging, Server { totals, ..Server::of(rows) }, 10);
        assert_eq!((read.rows.len(), read.requests), (rows as usize, requests), "{paging:?} {rows} {totals}");
    }
}

#[test]
fn a_server_with_small_pages_is_read_to_its_end() {
    for (paging, cap) in [(offset(), 5), (number(), 5), (offset(), 9), (number(), 1)] {
        let paging = Paging { short_page_ends: true, ..paging };
        let read = read(&paging, Server { cap, ..Server::of(35) }, 10);
        assert_eq!(read.rows, (0..35).collect::<Vec<u32>>(), "{paging:?} {cap}");
    }
}

#[test]
fn a_server_that_repeats_a_page_is_an_error_that_names_the_parameter() {
    let keys = |rows: Range<u32>| rows.map(|row| row.to_string()).collect::<Vec<_>>();
    for (paging, name) in
        [(Paging { reads_all: false, ..offset() }, "offset"), (offset(), "offset"), (number(), "page")]
    {
        let mut position = paging.first(10);
        let mut follow = |keys: &[String]| {
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            let following =
                paging.follow(position.as_ref(), Some(10), Shown { keys: &keys, total: None, next: None });
            following.map(|following| position = following.next)
        };
        follow(&keys(0..10)).unwrap();
        let fault = follow(&keys(0..10)).unwrap_err();
        assert_eq!(
            fault.to_string(),
            format!(
                "the page has the same records as the one before (check `paging.parameter`, \
                 since the service may ignore `{name}`; if it repeats its last page, set `total`)"
            )
        );
    }
}

/// Some services name another cursor for the same page each time.
#[test]
fn a_cursor_that_a_server_ignores_is_an_error_that_names_the_parameter() {
    let follow = |cursors: &[&str]| {
        let (paging, mut position) = (cursor(), None);
        for (pages, next) in cursors.iter().enumerate() {
            let shown = Shown { keys: &["1", "2"], total: None, next: Some((*next).into()) };
            match paging.follow(position.as_ref(), Some(2), shown) {
                Ok(following) => position = following.next,
                Err(fault) => return Err((pages + 1, fault.to_string())),
            }
        }
        Ok(())
    };
    let hint = "(check `paging.parameter`, since the service may ignore `cursor`, and `paging.next`)";
    assert_eq!(follow(&["a", "a"]), Err((2, format!("the page names itself as the next one {hint}"))));
    let why = format!("the page has the same records as those before {hint}");
    assert_eq!(follow(&["a", "b", "c"]), Err((3, why)));
    // All records of a small page may have changed.
    assert_eq!(follow(&["a", "b"]), Ok(()));
}

#[test]
fn rows_that_move_while_they_are_read_by_offset_are_never_skipped() {
    // The edit, which is made twice, and the first and the last row that it may remove before they are read.
    let edits: [(&str, Edit, Range<u32>); 7] = [
        ("a row is removed", |rows| _ = rows.remove(3), 0..0),
        ("several rows are removed", |rows| _ = rows.drain(..12), 0..24),
        ("the row of the seam is removed", |rows| rows.retain(|row| *row != 9), 9..10),
        ("a row is inserted before", |rows| rows.insert(0, 1000), 0..0),
        ("many rows are inserted before", |rows| _ = rows.splice(..0, 1000..1030), 0..0),
        ("a row moves to the end", |rows| rows.rotate_left(1), 0..0),
        ("a row moves to the beginning", |rows| rows.rotate_right(1), 0..0),
    ];
    for (name, edit, removed) in edits {
        for (count, reads_all) in [(5, true), (10, true), (5, false), (10, false)] {
            let server = Server { edits: vec![(1, edit), (3, edit)], ..Server::of(60) };
            let found = read(&Paging { reads_all, ..offset() }, server, count);
            let stays = (0..60).filter(|row| !removed.contains(row));
            let missing: Vec<u32> = stays.filter(|row| !found.rows.contains(row)).collect();
            // The next window reads a row that has changed meanwhile.
            let expected =
                if name.contains("to the beginning") && !reads_all { vec![58, 59] } else { vec![] };
            assert_eq!(missing, expected, "{name}, {count}: {found:?}");
        }
    }
}

#[test]
fn a_listing_goes_back_a_page_before_it_begins_again() {
    let read = |edit: Edit| {
        let found = read(&offset(), Server { edits: vec![(4, edit)], ..Server::of(60) }, 10);
        (found.requests, found.restarts)
    };
    // Pages of ten rows repeat one, so that seven of them and an empty one have all.
    assert_eq!(read(|_| {}), (8, 0));
    assert_eq!(read(|rows| _ = rows.remove(3)), (10, 0), "the page before is read again");
    assert_eq!(read(|rows| _ = rows.drain(..15)), (11, 0), "two pages, and the list is shorter");
    assert_eq!(read(|rows| rows.retain(|row| *row != 36)).1, 1, "the seam is gone");
}

#[test]
fn a_total_that_shrinks_begins_a_listing_by_number_again() {
    let edits: Vec<(usize, Edit)> = vec![(1, |rows| _ = rows.remove(3))];
    let found = read(&number(), Server { totals: true, edits: edits.clone(), ..Server::of(30) }, 10);
    assert_eq!(found.restarts, 1);
    assert!((10..30).all(|row| found.rows.contains(&row)), "{found:?}");
    // Without a total, nothing shows that row 10 has moved to the first page.
    let found = read(&number(), Server { edits, ..Server::of(30) }, 10);
    assert!(found.restarts == 0 && !found.rows.contains(&10));
}

#[test]
fn a_listing_by_number_keeps_the_size_of_its_pages() {
    let paging = number();
    let first = paging.first(10).unwrap();
    let keys = ["a"; 10];
    let shown = Shown { keys: &keys, total: None, next: None };
    let next = paging.follow(Some(&first), Some(10), shown).unwrap().next.unwrap();
    let (parameters, asked) = paging.parameters(Some(&next), 50).unwrap();
    assert_eq!(asked, Some(10));
    assert_eq!(parameters, [("page".to_owned(), json!(2)), ("limit".to_owned(), json!(10))]);
}

#[test]
fn a_cursor_is_followed_until_there_is_none_and_past_empty_pages() {
    let paging = cursor();
    let follow = |position: Option<&Position>, keys: &[&str], next: Option<Value>| {
        paging.follow(position, None, Shown { keys, total: None, next })
    };
    let first = follow(None, &["a"], Some(json!("x"))).unwrap().next.unwrap();
    assert_eq!(paging.parameters(Some(&first), 5).unwrap().0[0], ("cursor".to_owned(), json!("x")));
    assert_eq!(follow(Some(&first), &["b"], None).unwrap().next, None);
    let empty = follow(Some(&first), &[], Some(json!(7))).unwrap().next.unwrap();
    assert_eq!(paging.parameters(Some(&empty), 5).unwrap().0[0], ("cursor".to_owned(), json!(7)));
    assert_eq!(follow(Some(&empty), &[], Some(json!(7))).unwrap().next, None, "an empty page repeats it");
    assert!(follow(Some(&empty), &["c"], Some(json!(7))).is_err(), "a page with a record names itself");
    let mut position = Some(empty);
    let mut pages = 0;
    let fault = loop {
        pages += 1;
        match follow(position.as_ref(), &[], Some(json!(format!("c{pages}")))) {
            Ok(following) => position = following.next,
            Err(fault) => break fault,
        }
    };
    assert!(pages == 100 && fault.to_string().contains("100 pages in a row have no records"), "{fault}");
}

#[test]
fn a_position_of_another_paging_is_refused() {
    let number = number().first(10);
    for paging in [offset(), cursor(), paging(Pages::One), paging(Pages::Link)] {
        let fault = paging.parameters(number.as_ref(), 10).unwrap_err();
        assert!(fault.to_string().contains("can't be read"), "{fault}");
        let shown = Shown { keys: &[], total: None, next: None };
        assert!(paging.follow(number.as_ref(), None, shown).is_err());
    }
    assert!(Position::read(&Cursor("2026-11-21T12:00:00Z/2026".to_owned())).is_err());
}

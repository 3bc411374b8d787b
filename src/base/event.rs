//! Events: everything that importer reports while it works, as one closed set. An event has ids and counts, never
//! personal data; texts of other parties in it are redacted. It says nothing about how it is shown: that is up to
//! the listeners.

mod entry;
mod file;
mod notice;
mod program;
mod run;
mod service;
mod store;

use std::{fmt, panic::Location, sync::Arc};

use chrono::{DateTime, Utc};

pub use self::{
    entry::{EntryEvent, Obstacle, Overruled, Start},
    file::FileEvent,
    notice::NoticeEvent,
    program::ProgramEvent,
    run::{Findings, PauseReason, RunEvent},
    service::ServiceEvent,
    store::StoreEvent,
};

/// One event, with the time and the place at which it was emitted.
#[derive(Debug, Clone)]
pub struct Emitted {
    pub at: DateTime<Utc>,
    pub place: Place,
    pub event: Event,
}

/// The place in the code that emitted an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(&'static Location<'static>);

impl Place {
    /// Returns the place of the caller.
    #[track_caller]
    pub fn here() -> Self {
        Place(Location::caller())
    }

    /// Returns the line, counted from 1.
    pub fn line(self) -> u32 {
        self.0.line()
    }

    /// Returns the path of the module below the crate, such as `net::call`.
    pub fn module(self) -> String {
        let file = self.0.file();
        let path = file.rsplit_once("src/").map_or(file, |(_, path)| path);
        path.trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::")
    }
}

/// Everything that importer reports.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    Program(ProgramEvent),
    /// About the state file and importer's own files beside it.
    File(FileEvent),
    /// About an entry that is not running, or about its result.
    Entry(EntryName, EntryEvent),
    Run(Arc<RunName>, RunEvent),
    Service(ServiceEvent),
    Notice(NoticeEvent),
    /// About what is stored of a delivery.
    Store(StoreEvent),
}

impl From<ProgramEvent> for Event {
    fn from(event: ProgramEvent) -> Self {
        Event::Program(event)
    }
}

impl From<FileEvent> for Event {
    fn from(event: FileEvent) -> Self {
        Event::File(event)
    }
}

impl From<NoticeEvent> for Event {
    fn from(event: NoticeEvent) -> Self {
        Event::Notice(event)
    }
}

impl From<ServiceEvent> for Event {
    fn from(event: ServiceEvent) -> Self {
        Event::Service(event)
    }
}

impl From<StoreEvent> for Event {
    fn from(event: StoreEvent) -> Self {
        Event::Store(event)
    }
}

/// An entry, as messages name it: `list "a"`, with the place of the entry if its list has several.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct EntryName {
    pub list_id: String,
    /// Line and column of the entry in the state file; `None` if no other entry has this list.
    pub place: Option<String>,
}

impl EntryName {
    /// Returns the name of an entry that is the only one of its list.
    pub fn alone(list_id: &str) -> Self {
        EntryName { list_id: list_id.to_owned(), place: None }
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "list {:?}", self.list_id)?;
        match &self.place {
            Some(place) => write!(f, " (entry at {place})"),
            None => Ok(()),
        }
    }
}

/// A run, as events name it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct RunName {
    pub entry: EntryName,
    /// Name of the entry's folder, which distinguishes the entries of a list.
    pub folder: String,
}

impl RunName {
    /// Returns the name of a run of the only entry of a list.
    pub fn alone(list_id: &str) -> Self {
        RunName { entry: EntryName::alone(list_id), folder: String::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_names_the_module_that_emitted_the_event() {
        let here = Place::here();
        assert_eq!(here.module(), "base::event");
        assert_eq!(here.line(), line!() - 2);
    }

    #[test]
    fn an_entry_is_named_by_its_list_and_among_several_by_its_place() {
        let alone = EntryName::alone("a\"b");
        assert_eq!(alone.to_string(), r#"list "a\"b""#);
        let second = EntryName { place: Some("line 2 column 3".into()), ..alone };
        assert_eq!(second.to_string(), r#"list "a\"b" (entry at line 2 column 3)"#);
    }
}

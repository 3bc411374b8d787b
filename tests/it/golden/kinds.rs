//! The kinds of log lines. A piece of its text identifies each kind; no other module depends on the words of the log.
//!
//! To reword a message, change its piece here; the records stay as they are. The first kind in the table whose piece is in the
//! line counts, so special pieces stand before general ones.

use super::line::Kind;

/// Makes a kind whose numbers count.
const fn kind(name: &'static str, piece: &'static str) -> Kind {
    Kind { name, piece, numbers: true, caused: false }
}

/// Makes a kind whose numbers do not count, because a random wait or another wording may change them.
const fn vague(name: &'static str, piece: &'static str) -> Kind {
    Kind { name, piece, numbers: false, caused: false }
}

/// Makes a kind that passes on a problem, which is one of [`CAUSES`].
const fn caused(name: &'static str, piece: &'static str) -> Kind {
    Kind { name, piece, numbers: false, caused: true }
}

pub const KINDS: &[Kind] = &[
    // The program.
    kind("starting", "starting, state file "),
    kind("checking all lists", "checking all lists."),
    vague("sleeping", "sleeping for "),
    kind("state file changed", "the state file has changed."),
    kind("state file readable again", "the state file can be read again."),
    kind("last good file in force", "until then, importer uses the last valid version of the lists"),
    kind("file read again when saved", "importer reads the state file again as soon as it is saved."),
    kind("checkpoints dropped", "checkpoints dropped: "),
    kind("stopping", "stopping: delivering the records that were read"),
    kind("result in journal", "the result of its run is in the journal"),
    kind("result kept", "the result of the run is kept; importer writes it as soon as"),
    kind("quit file found", "found \""),
    kind("old quit file removed", "removed an old \""),
    kind("quit file stays", "remove it before the next start"),
    kind("edits seen once a minute", "edits take effect within a minute"),
    kind("link changed", "importer uses the file there"),
    kind("edit taken over", "applied an edit that was saved while importer was writing the state file"),
    kind("two saves crossed", "two saves of the state file conflict"),
    kind("earlier result written", "the result of an earlier run, up to "),
    kind("history not written", "could not write the history of the state file"),
    kind("files can't be exchanged", "this file system can't exchange two files"),
    kind("entry does not run", "; this entry does not run."),
    kind("no entry", "the state file has no entry; add one"),
    // What is due.
    kind("full load due", "has no latest timestamp, firing full load."),
    vague("incremental sync due", " ago, firing incremental sync."),
    kind("up to date", " up to date, last updated on "),
    kind("timestamp in the future", "which is in the future, so the entry does not run"),
    kind("entry not enabled", "is paused (`enabled` is false)"),
    kind("running", " is running."),
    kind("running with former settings", " is running with its previous settings"),
    kind(
        "waits for another entry",
        "waits until its own previous run, or the run of another entry of the list",
    ),
    vague("resting", ": the last run failed; the next attempt starts in "),
    kind("entry is new", "its entry was added or enabled after the start"),
    kind("first load waits", "the first load waits for a confirmation"),
    kind("offset ignored by source", "since every run reads this source whole"),
    kind("offset ignored", "bounds full loads only"),
    // The end of a run.
    caused("failed", ". Its entry is unchanged; the next run delivers what this one has not delivered."),
    kind("finished", " finished in "),
    kind("stopped", ". Its entry is unchanged; the next run continues from here."),
    kind("paused", " records were delivered, and the "),
    kind("pausing", "its run delivers the records that it has read, then ends"),
    caused("failed at pause", "; the run failed while it was ending: "),
    kind("cut at pause", "; the run was cut short. The next run repeats"),
    kind("cut at stop", " was cut short; its next run delivers the rest"),
    kind("written", " updated, latest timestamp "),
    kind("overruled by hand", "was changed by hand during the run; the edit is kept"),
    kind("entry gone", "its entry was removed or changed during the run"),
    kind("totals wrong", "the source's totals are wrong: it listed more records than it counts"),
    vague("clocks apart", "the clocks differ by more than "),
    kind("rows after the end", " changed after the end of the window ("),
    kind("unknown field of records", "check that the entry spells it as the source does"),
    kind("fields left out", ": fields left out: "),
    kind("late errors", "the sink has found "),
    caused("late errors not read", "validation errors: "),
    kind("late errors not in time", "did not report its deferred errors in time"),
    kind("rejected", "can't be delivered; "),
    kind("whole list left out", " leaves out the whole list; lower or remove it"),
    kind("rejected records wait", " rejected records wait in "),
    // A run.
    kind("first load", " is loaded for the first time: "),
    kind(
        "mass change allowed",
        "`allow_mass_change` is true, so any number of opt-outs and opt-ins may pass",
    ),
    kind("mass opt-in not noticed", "so a mass opt-in can't be detected"),
    kind("all archived passed on", "all archived records are read and sent as archived"),
    kind("goes on", ": resuming the interrupted run, "),
    caused("window read again", "; reading the window again."),
    kind("rows repeat an id", " another row's id, and nothing distinguishes them"),
    vague("pages do not join", ": two neighboring pages share no record; "),
    kind("server's cap", " records per answer; reading smaller pages"),
    caused("page halved", "; requesting smaller pages."),
    caused("window cut in two", "; splitting the window in two by time."),
    kind("progress", " records read, "),
    kind("page read", " records from "),
    kind("rows compared", " in the last seconds: "),
    kind("slice maybe cut off", " shifts begin within a minute of "),
    // Files of the program.
    kind("records unreadable", "importer does not know what was delivered"),
    kind("checkpoint of another state", " is discarded, and the list starts again: "),
    kind("checkpoint unreadable", " can't be read and is discarded; the list starts again"),
    kind("checkpoint damaged", " is damaged; the pages after line "),
    // The network.
    kind("no https", " is not https: "),
    caused("account rests", "; pausing all requests to "),
    caused("tried again", "; attempt "),
    // General pieces.
    kind("linked page read", " records."),
    kind("remark on the state file", "state.json"),
];

/// Problems that a line passes on, as pairs of a name and a piece.
pub const CAUSES: &[(&str, &str)] = &[
    ("mass change", " would be opted "),
    ("mass opt-out on hold", "until a person lifts the hold"),
    ("page takes too long", "the source is too slow even for small pages, and the window"),
    ("small pages take too long", "the source is too slow even for small pages"),
    ("clocks more than a day apart", "the clocks are more than a day apart"),
    ("window would end before the last one", " would end at "),
    ("window ends later than now", "which is later than now"),
    ("row long after the end", "a record changed at "),
    ("no readable date", "a response without a readable `Date` header"),
    ("totals can't be right", "its totals are inconsistent"),
    ("listing shows fewer of a second", "the source listed only "),
    ("records without a time", "have no time of their last change"),
    ("records unexplained", " are unexplained"),
    ("most records rejected", "the mapping or the sink is probably wrong"),
    ("slice is full", " shifts or more begin within a minute of "),
    ("one row in an answer", "returns only one row per answer"),
    ("chain leads back", "leads back to a page that was already read"),
    ("asked to be left alone", "the service accepts no requests for another"),
    ("token over", "has expired or is wrong; set a new one"),
    ("redirect", "redirects are not followed, to protect the key"),
    ("key refused before", "is not tried again"),
    ("push not confirmed", "response does not confirm that it accepted"),
    ("batch refused", "ometria rejected "),
    ("401", "401 unauthorized"),
    ("403", "403 forbidden"),
    ("404", "404 not found"),
    ("429", "429 too many requests"),
    ("500", "500 internal server error"),
    ("502", "502 bad gateway"),
    ("503", "503 service unavailable"),
    ("504", "504 gateway timeout"),
    ("connection broken", "connection reset by peer"),
    ("answer ended in the middle", "the response ended"),
    ("timed out", "no response in time"),
    ("unreadable answer", "can't be read"),
    ("error in a good answer", "reports an error"),
];

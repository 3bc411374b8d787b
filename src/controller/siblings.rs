//! The entries that share a delivery.

use super::{Open, OpenRequest};
use crate::{
    base::identity::DeliveryId,
    state::{Entry, Unfit},
};

/// Returns the folder names of the entries that have the same delivery as `entry`, including `entry` itself; `None`
/// if another entry can't be read or opened, since its delivery is then unknown. `all` contains the entries of the
/// state file; it is `None` if one can't be read.
pub fn siblings(
    entry: &Entry,
    delivery: &DeliveryId,
    all: Option<&[Entry]>,
    open: &Open,
) -> Option<Vec<String>> {
    let of_list = all?.iter().filter(|other| other.list == entry.list);
    let is_same = |other: &Entry| -> Result<bool, Unfit> {
        Ok(other.id == entry.id || open(OpenRequest { entry: other, urgent: false })?.delivery == *delivery)
    };
    let named: Result<Vec<_>, Unfit> =
        of_list.map(|other| Ok(is_same(other)?.then(|| other.folder.clone()))).collect();
    Some(named.ok()?.into_iter().flatten().collect())
}

//! What stands together in the catalogue.

use uuid::Uuid;

use crate::catalogue::reading::whole_number;
use crate::fields::fields;
use crate::problems::{At, Problem, Problems};

/// Longest name of a category.
const MAX_NAME_CHARS: usize = 100;
/// Places in the list of categories.
const POSITIONS: std::ops::RangeInclusive<i64> = 0..=1_000_000;

/// A category.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Category {
    /// UUIDv7.
    pub id: Uuid,
    /// What it is called.
    pub name: String,
    /// Where it stands: small ones first.
    pub position: i32,
}

fields! {
    /// What a category may be, still raw.
    pub struct CategoryRequest { name, position }
}

impl Category {
    /// Reads a new one.
    pub fn parse(request: &CategoryRequest<'_>) -> Result<Self, Vec<Problem>> {
        Self::read(request, None)
    }

    /// Reads what is to be another; what is left out stays.
    pub fn change(&self, request: &CategoryRequest<'_>) -> Result<Self, Vec<Problem>> {
        Self::read(request, Some(self))
    }

    fn read(request: &CategoryRequest<'_>, before: Option<&Self>) -> Result<Self, Vec<Problem>> {
        let mut problems = Problems::default();
        problems.odd(&At::Top, &request.odd);
        let name = match (request.name, before) {
            (None, Some(before)) => Some(before.name.clone()),
            (raw, _) => problems.text("name", raw, MAX_NAME_CHARS),
        };
        let position = match request.position {
            None => before.map_or(0, |before| i64::from(before.position)),
            Some(raw) => whole_number(&mut problems, "position", raw, POSITIONS).unwrap_or(0),
        };
        match name {
            Some(name) if problems.0.is_empty() => {
                let id = before.map_or_else(Uuid::now_v7, |before| before.id);
                Ok(Self { id, name, position: i32::try_from(position).unwrap_or(0) })
            }
            _ => Err(problems.0),
        }
    }
}

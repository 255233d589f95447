//! A set of small numbers in one byte: epochs, gateway keys, orders. A state is copied and hashed a million times,
//! so it holds no vectors.

use std::fmt;

/// A set of numbers below 8.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Bits(u8);

impl Bits {
    /// Numbers that it can hold are below this.
    pub const LIMIT: u8 = 8;

    /// Those of `numbers`.
    pub fn of(numbers: impl IntoIterator<Item = u8>) -> Self {
        numbers.into_iter().fold(Self::default(), Self::with)
    }

    /// Itself and `number`.
    #[must_use]
    pub fn with(self, number: u8) -> Self {
        assert!(number < Self::LIMIT, "{number} does not fit: the scope of this check is too large");
        Self(self.0 | 1 << number)
    }

    /// Itself without `number`.
    #[must_use]
    pub const fn without(self, number: u8) -> Self {
        Self(self.0 & !(1 << number))
    }

    /// Whether `number` is in it.
    pub const fn has(self, number: u8) -> bool {
        self.0 >> number & 1 == 1
    }

    /// How many are in it.
    pub const fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// Whether none is.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Each of them, smallest first.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        (0..Self::LIMIT).filter(move |number| self.has(*number))
    }
}

impl fmt::Debug for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

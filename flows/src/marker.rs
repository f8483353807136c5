//! The two bits of OVN's flag register that carry the mirror's notes on a frame.

/// Bit numbers of `reg10`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkerBits {
    /// C: the frame has been copied in its present form.
    pub copied_bit: u8,
    /// R: a copy was made on delivery.
    pub delivered_bit: u8,
}

impl Default for MarkerBits {
    /// 27 and 26, which no OVN release looked at uses.
    fn default() -> Self {
        Self { copied_bit: 27, delivered_bit: 26 }
    }
}

impl MarkerBits {
    /// C as a value of `reg10`.
    #[must_use]
    pub fn copied(self) -> u128 {
        1 << self.copied_bit
    }

    /// R as a value of `reg10`.
    #[must_use]
    pub fn delivered(self) -> u128 {
        1 << self.delivered_bit
    }
}

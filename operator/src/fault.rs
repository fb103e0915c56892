//! Fault points: named places between two writes to the cluster where a test stops the process, and kills it or what it writes to. In
//! a build without the feature `fault-points` [`reach`] is nothing.

/// Where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// Leave is in hand; the Deployment names the old image.
    BeforeChange,
    /// The Deployment names the new image and the attempt; nobody was told.
    Changed,
    /// The verdict is given and kept; the Deployment names the new image.
    BeforeBack,
    /// The Deployment names the old image again; nobody was told.
    Back,
    /// The outcome is in the Secret; the attempt is still written on the Deployment.
    OutcomeKept,
}

impl Point {
    /// Every one, in order.
    pub const ALL: [Self; 5] = [Self::BeforeChange, Self::Changed, Self::BeforeBack, Self::Back, Self::OutcomeKept];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BeforeChange => "before-change",
            Self::Changed => "changed",
            Self::BeforeBack => "before-back",
            Self::Back => "back",
            Self::OutcomeKept => "outcome-kept",
        }
    }
}

/// Passes a point.
#[cfg(not(feature = "fault-points"))]
#[inline(always)]
pub(crate) const fn reach(point: Point) {
    let _ = point;
}

/// Passes a point; stands still there when this build is to.
#[cfg(feature = "fault-points")]
pub(crate) fn reach(point: Point) {
    crate::misbehaviour::reach(point);
}

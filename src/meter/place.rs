//! How far an application is, in words. Floor 1: pure.

use std::time::Duration;

/// Where an application may be, by the time that a packet needs to it and back. A round trip bounds the distance from above, a
/// hundred kilometres of fibre for each millisecond: that something is near can be known, that it is far only inferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    SameSite,
    SameRegion,
    Near,
    SameContinent,
    Far,
    AnotherContinent,
}

impl Place {
    /// From the nearest to the farthest.
    pub const ALL: [Self; 6] = [
        Self::SameSite,
        Self::SameRegion,
        Self::Near,
        Self::SameContinent,
        Self::Far,
        Self::AnotherContinent,
    ];

    /// A closed set, so it may be a metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::SameSite => "same_site",
            Self::SameRegion => "same_region",
            Self::Near => "near",
            Self::SameContinent => "same_continent",
            Self::Far => "far",
            Self::AnotherContinent => "another_continent",
        }
    }

    /// For people.
    pub const fn words(self) -> &'static str {
        match self {
            Self::SameSite => "same site",
            Self::SameRegion => "same region",
            Self::Near => "near",
            Self::SameContinent => "same continent",
            Self::Far => "far",
            Self::AnotherContinent => "another continent",
        }
    }
}

/// The round trips below which an application is at each place but the last; ascending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bands {
    pub same_site: Duration,
    pub same_region: Duration,
    pub near: Duration,
    pub same_continent: Duration,
    pub far: Duration,
}

impl Bands {
    pub fn place(&self, rtt: Duration) -> Place {
        let below = [
            (self.same_site, Place::SameSite),
            (self.same_region, Place::SameRegion),
            (self.near, Place::Near),
            (self.same_continent, Place::SameContinent),
            (self.far, Place::Far),
        ];
        let found = below.into_iter().find(|(limit, _)| rtt < *limit);
        found.map_or(Place::AnotherContinent, |(_, place)| place)
    }
}

impl Default for Bands {
    fn default() -> Self {
        Self {
            same_site: Duration::from_micros(500),
            same_region: Duration::from_millis(2),
            near: Duration::from_millis(10),
            same_continent: Duration::from_millis(40),
            far: Duration::from_millis(100),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_band_begins_where_the_one_before_ends() {
        let bands = Bands::default();
        for (micros, place) in [
            (0, Place::SameSite),
            (499, Place::SameSite),
            (500, Place::SameRegion),
            (2_000, Place::Near),
            (39_999, Place::SameContinent),
            (99_999, Place::Far),
            (100_000, Place::AnotherContinent),
        ] {
            assert_eq!(
                bands.place(Duration::from_micros(micros)),
                place,
                "{micros}"
            );
        }
    }
}

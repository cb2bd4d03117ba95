//! Points in time as PostgreSQL keeps them: whole microseconds.

use std::{borrow::Cow, fmt};

use jiff::{
    civil::{DateTime, Time},
    fmt::temporal::Pieces,
    tz::Offset,
};

/// Microseconds from 2000-01-01 to 1970-01-01, PostgreSQL's epoch and Unix's.
pub const POSTGRES_EPOCH: i64 = 946_684_800_000_000;
/// The same in days.
pub const POSTGRES_EPOCH_DAY: i64 = POSTGRES_EPOCH / DAY;
const DAY: i64 = 86_400_000_000;
/// The first moment that PostgreSQL keeps, by its own count: `MIN_TIMESTAMP` of its timestamp.h.
const EARLIEST: i64 = -211_813_488_000_000_000;

/// Microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From PostgreSQL's own count, microseconds since 2000-01-01.
    pub const fn from_postgres(micros: i64) -> Self {
        Self(micros.saturating_add(POSTGRES_EPOCH))
    }

    /// As PostgreSQL counts.
    pub const fn to_postgres(self) -> i64 {
        // Infinity, which `from_postgres` could not move.
        if self.0 == i64::MAX {
            return i64::MAX;
        }
        self.0.saturating_sub(POSTGRES_EPOCH)
    }

    /// From Unix microseconds.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Unix microseconds.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// ISO 8601 with a zone, or a date alone, which is its midnight in UTC.
    ///
    /// # Errors
    /// What is wrong with the text: no zone, finer than a microsecond, no such date.
    pub fn parse(text: &str) -> Result<Self, Cow<'static, str>> {
        let pieces = Pieces::parse(text).map_err(|_| NOT_ISO)?;
        let offset = match (pieces.time(), pieces.to_numeric_offset()) {
            (_, Some(offset)) => offset,
            (None, None) if text.len() == 10 => Offset::UTC,
            _ => {
                return Err(Cow::Borrowed(
                    "needs a time zone: end it with Z or an offset such as +02:00",
                ));
            }
        };
        let local = pieces
            .date()
            .to_datetime(pieces.time().unwrap_or(Time::midnight()));
        if local.subsec_nanosecond() % 1000 != 0 {
            return Err(Cow::Borrowed(
                "is finer than a microsecond, which PostgreSQL cannot keep",
            ));
        }
        // Without jiff's own Timestamp, which ends a day before the year 9999 does.
        let since = local.duration_since(DateTime::constant(1970, 1, 1, 0, 0, 0, 0));
        let micros = since.as_micros() - i128::from(offset.seconds()) * 1_000_000;
        match i64::try_from(micros).map(Self) {
            Ok(at) if at.to_postgres() >= EARLIEST => Ok(at),
            _ => Err(Cow::Borrowed(
                "is before 4714 BC, where PostgreSQL's calendar begins",
            )),
        }
    }

    /// Appends ISO 8601 UTC text, with 3 fraction digits, or 6 where there are microseconds.
    /// PostgreSQL's infinities read `infinity` and `-infinity`.
    pub fn write(self, out: &mut Vec<u8>) {
        if self.0 == i64::MAX || self.0 < i64::MIN + POSTGRES_EPOCH + 1 {
            let text: &[u8] = if self.0 > 0 {
                b"infinity"
            } else {
                b"-infinity"
            };
            return out.extend_from_slice(text);
        }
        write_date(out, self.0.div_euclid(DAY));
        let within = self.0.rem_euclid(DAY);
        for (mark, value) in [
            (b'T', within / 3_600_000_000),
            (b':', within / 60_000_000 % 60),
            (b':', within / 1_000_000 % 60),
        ] {
            out.push(mark);
            digits(out, value, 2);
        }
        out.push(b'.');
        let fraction = within % 1_000_000;
        if fraction % 1000 == 0 {
            digits(out, fraction / 1000, 3);
        } else {
            digits(out, fraction, 6);
        }
        out.push(b'Z');
    }
}

const NOT_ISO: &str = "is not an ISO 8601 time such as 2026-11-22T09:30:00Z";

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(27);
        self.write(&mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

/// Appends a day counted from 1970-01-01 as an ISO 8601 date; years of more than four digits have a sign, and
/// six or seven of them.
pub fn write_date(out: &mut Vec<u8>, days: i64) {
    let (year, month, day) = civil(days);
    if (0..=9999).contains(&year) {
        digits(out, year, 4);
    } else {
        out.push(if year < 0 { b'-' } else { b'+' });
        digits(out, year.abs(), if year.abs() < 1_000_000 { 6 } else { 7 });
    }
    for value in [month, day] {
        out.push(b'-');
        digits(out, value, 2);
    }
}

/// Appends `value`, not negative, in `width` digits, of which there are at most seven.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // One decimal digit.
fn digits(out: &mut Vec<u8>, value: i64, width: usize) {
    let mut text = [b'0'; 7];
    let mut rest = value as u32;
    for place in text[..width].iter_mut().rev() {
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(&text[..width]);
}

/// Year, month and day of a day counted from 1970-01-01 (Howard Hinnant's `civil_from_days`).
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(text: &str) -> String {
        Timestamp::parse(text).unwrap().to_string()
    }

    #[test]
    fn reads_what_iso_8601_allows() {
        assert_eq!(round("2026-11-22T09:30:00Z"), "2026-11-22T09:30:00.000Z");
        assert_eq!(
            round("2026-11-22T09:30:00.123456+02:00"),
            "2026-11-22T07:30:00.123456Z"
        );
        assert_eq!(round("2026-11-22"), "2026-11-22T00:00:00.000Z");
        assert_eq!(
            round("1969-12-31T23:59:59.999999Z"),
            "1969-12-31T23:59:59.999999Z"
        );
        assert_eq!(round("0001-01-01T00:00:00Z"), "0001-01-01T00:00:00.000Z");
        assert_eq!(round("2024-02-29T23:59:59.5Z"), "2024-02-29T23:59:59.500Z");
        assert_eq!(round("9999-12-31"), "9999-12-31T00:00:00.000Z");
        assert_eq!(
            round("9999-12-31T23:59:59.999999Z"),
            "9999-12-31T23:59:59.999999Z"
        );
        assert_eq!(
            round("-004712-01-01T00:00:00Z"),
            "-004712-01-01T00:00:00.000Z"
        );
    }

    #[test]
    fn refuses_what_it_would_have_to_guess() {
        for text in [
            "2026-11-22T09:30:00",
            "yesterday",
            "",
            "2026-02-30",
            "2026-11-22T09:30:00.1234567Z",
            "1700000000",
            "20261122",
            "2026-11-22[Europe/Berlin]",
            "-005000-01-01T00:00:00Z",
        ] {
            assert!(Timestamp::parse(text).is_err(), "{text}");
        }
        assert!(
            Timestamp::parse("2026-11-22T09:30:00")
                .unwrap_err()
                .contains("zone")
        );
    }

    #[test]
    fn dates_agree_with_jiff() {
        for micros in
            (-62_135_596_800_000_000..253_402_300_799_000_000).step_by(7_777_777_777_777_777)
        {
            let ours = Timestamp(micros).to_string();
            let theirs = jiff::Timestamp::from_microsecond(micros).unwrap();
            assert_eq!(ours.parse::<jiff::Timestamp>().unwrap(), theirs, "{ours}");
        }
    }

    #[test]
    fn infinities_have_names() {
        assert_eq!(Timestamp::from_postgres(i64::MAX).to_string(), "infinity");
        for infinity in [i64::MIN, i64::MAX] {
            assert_eq!(Timestamp::from_postgres(infinity).to_postgres(), infinity);
        }
        assert_eq!(Timestamp::from_postgres(i64::MIN).to_string(), "-infinity");
    }
}

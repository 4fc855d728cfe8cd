//! How times are printed.

use tidings_proto::Timestamp;
use time::OffsetDateTime;

/// A time as RFC 3339 in UTC, always with milliseconds: `1970-01-01T00:00:00.000Z`. A time that no calendar has is printed as its milliseconds.
pub(crate) fn text(time: Timestamp) -> String {
    let nanoseconds = i128::from(time.value()) * 1_000_000;
    let date = OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).ok();
    date.map_or_else(
        || time.to_string(),
        |date| {
            let (year, month, day) = date.to_calendar_date();
            let (hour, minute, second, millisecond) = date.to_hms_milli();
            format!("{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z", u8::from(month))
        },
    )
}

/// The same; `None` for zero, which stands for "never".
pub(crate) fn text_or_none(time: Timestamp) -> Option<String> {
    (time != Timestamp::ZERO).then(|| text(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_printed_in_utc() {
        assert_eq!(text(Timestamp::new(1_700_000_000_123)), "2023-11-14T22:13:20.123Z");
    }

    /// Texts of one width sort as times do.
    #[test]
    fn a_whole_second_is_printed_with_its_milliseconds() {
        assert_eq!(text(Timestamp::new(1_700_000_000_000)), "2023-11-14T22:13:20.000Z");
    }

    #[test]
    fn a_time_beyond_the_calendar_is_a_number() {
        assert_eq!(text(Timestamp::new(u64::MAX)), u64::MAX.to_string());
    }
}

//! The kinds of work that the truth tests have done, and what is known of each.

/// What one kind of work is: how many turns it is known to take, and what of it is the database's, in milliseconds.
pub(super) struct Work {
    pub(super) name: &'static str,
    /// With those of the driver's own, while it connects and takes leave.
    pub(super) turns: f64,
    /// Of these, before it tells its user that it is connected.
    pub(super) setting_up: f64,
    /// The turns of its opening, to us and from us to the database, there without TLS.
    pub(super) opening: (f64, f64),
    pub(super) database: f64,
    pub(super) request: f64,
    /// Round trips beyond the one of every turn, in which TCP opens its window.
    pub(super) rounds: f64,
}

const fn work(name: &'static str, turns: f64) -> Work {
    Work {
        name,
        turns,
        setting_up: 0.0,
        // TCP, the request for TLS, TLS, the startup packet, and two answers
        opening: (6.0, 4.0),
        database: 0.0,
        request: 0.0,
        rounds: 0.0,
    }
}

/// TCP, the server's greeting, TLS to us, and the response.
const fn mysql(name: &'static str, setting_up: f64, turns: f64) -> Work {
    Work {
        setting_up,
        opening: (4.0, 3.0),
        ..work(name, turns)
    }
}

/// The same in `tests/it/truth/work_postgres.py`.
pub(super) const POSTGRES: [Work; 8] = [
    work("simple", 10.0),
    work("extended", 10.0),
    // everything at once
    work("pipelined", 1.0),
    // a Flush and a Sync for each of five
    work("flush", 10.0),
    // the command, and the end of its data
    Work {
        request: 200.0,
        ..work("copy", 2.0)
    },
    Work {
        database: 150.0,
        ..work("sleep", 3.0)
    },
    work("think", 6.0),
    Work {
        rounds: 4.0,
        ..work("large", 1.0)
    },
];

/// The same in `tests/it/truth/work_mysql.py`.
pub(super) const MYSQL: [Work; 4] = [
    mysql("text", 1.0, 11.0),
    // preparing, executing, and a reset after each
    mysql("prepared", 2.0, 24.0),
    mysql("several", 1.0, 4.0),
    Work {
        database: 150.0,
        ..mysql("sleep", 1.0, 4.0)
    },
];

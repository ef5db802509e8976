//! Where the client's side of a conversation stands. Floor 2.

/// What the client is in the middle of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Saying {
    Nothing,
    /// The command to which the last answer is owed.
    Command,
    /// A command without an answer, or a packet of a stream that goes on.
    Aside,
    LongData,
    /// The statement that the long data are for is still to come.
    LongDataSaid,
    File {
        last: bool,
    },
}

/// Why bytes of the client were held, when they last were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HoldCause {
    No,
    /// The rest of a packet's start has to come.
    Cut,
    /// Too many answers are owed.
    Crowd,
    /// A stream has to end.
    Stream,
    /// The session has to decide.
    Guarded,
    /// The session has decided: the command may pass.
    Agreed,
}

/// What has become of the last command that the session had to agree to, where it wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Agreed {
    Nothing,
    /// It has been let pass.
    Passes,
    /// It is owed its answer, before any other.
    Asked,
    Answered {
        ok: bool,
    },
}

//! Numbers. Floor 1. Labels are resolved here, once per session; the relay holds handles and only adds.

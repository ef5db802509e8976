//! MySQL's and MariaDB's dialogues. Floor 2.
//!
//! | file | dialogue |
//! |---|---|
//! | `unfinished` | a connection to the server before its login: the greeting heard, TLS, an end that nobody counts |
//! | `greet` | the greeting to the client's answer: TLS, who it says it is |
//! | `identity` | the answer in the policy's words |
//! | `answered` | the answer, with the connection to the server that it answers to |
//! | `login` | the answer to the server's OK, and a change of user, relayed packet by packet |
//! | `exchange` | who may say what during a login: pure |
//! | `legs` | what each end believes of its leg, and so how a password travels |
//! | `rsa` | passwords under RSA |
//! | `leg` | packets and their numbers on one side of a login |
//! | `conversation` | what stands open in a session, from packet headers and a few first bytes |
//! | `asked` | a command that the session decides on, read whole |
//! | `facts` | what the conversation is told of its session |
//! | `command` | what a command means for that |
//! | `places` | where the client's side of a conversation stands |
//! | `answer` | where the answer to a command ends |
//! | `owed` | the answers that a server owes |
//! | `look` | how a server greets, and refuses one who is nobody: for `doorward check` |
//! | `refuse` | the codes and words of a no |
//!
//! Nothing here decides who may come in, and nothing but the end of a connection to the server has a deadline of its own: the
//! caller bounds each call.

mod answer;
mod answered;
mod asked;
mod command;
mod conversation;
mod exchange;
mod facts;
mod greet;
mod identity;
mod leg;
mod legs;
mod login;
mod look;
mod owed;
mod places;
#[cfg(test)]
mod players;
mod refuse;
mod rsa;
mod unfinished;

pub use answered::Answered;
pub use asked::{Asked, Reading, forget_command, whole_command};
pub use conversation::Conversation;
pub use facts::{Facts, Rights};
pub use greet::{GreetError, Greeted, Greeting, Opening, OpeningError, greet, greeting_like};
pub use identity::{identity, other_identity};
pub use legs::Way;
pub use login::{Changed, LoggedIn, LoginError, Terms, change_user, login};
pub use look::{Look, LookError, OnHeader, certificate_behind, look};
pub use refuse::{Whom, code, going, instead_of_greeting, malformed, passed_on, refusal};
pub use rsa::{OwnKey, SealError};
pub use unfinished::{Abandoned, Abandons, EncryptError, HearError, Unfinished};

pub use super::last_words::refuse;

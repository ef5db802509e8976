//! Characters that do not show what they are. Floor 0: pure.

/// It ends a line, controls a terminal, turns the text around, or cannot be seen: no text of somebody else's is shown with it.
pub fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

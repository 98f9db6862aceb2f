//! A text of a gateway in one line of visible characters.
//!
//! A gateway's words reach statuses and events, which more people read than may read Secrets. So a text is freed of
//! what could disturb a terminal, then of every piece of a secret that was sent along, and is cut last: a cut before
//! the search could leave the head of a token, and a control character within a token could hide it.

/// The text in one line, without control characters and without those that change how their neighbours look.
pub(super) fn printable(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_whitespace() {
            if !line.ends_with(' ') {
                line.push(' ');
            }
        } else if !c.is_control() && !is_format_control(c) {
            line.push(c);
        }
    }
    line
}

/// Unicode's general category Cf (format): direction marks, zero-width characters, tags.
fn is_format_control(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}'
        | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e007f}')
}

package authkey

// NoteUse notes a use of a credential now, as a verifier does.
func NoteUse(u *Uses, key, credential string) { u.cell(key, credential).note(u.now()) }

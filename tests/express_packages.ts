/** What the app of `static/docs/connect.md` imports: the lock file has what modules import. */
import "express";
import "express-session";

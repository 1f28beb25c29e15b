/** The npm packages that pages use in browsers. To add one, add an import and a line here. */
import CENTRIFUGE from "centrifuge" with { type: "text" };
import PERFECT_CURSORS from "perfect-cursors/dist/esm/index.js" with { type: "text" };
import UPLOT_CSS from "uplot/dist/uPlot.min.css" with { type: "text" };
import UPLOT from "uplot/dist/uPlot.esm.js" with { type: "text" };
import UQR from "uqr" with { type: "text" };

/**
 * Files by their name below `/_static/vendor/`. A module in `static/` imports `x.js` by its bare name, `"x"`, as the
 * type checker knows it; a page links to anything else by its path.
 */
export const BROWSER_PACKAGES: Readonly<Record<string, string>> = {
  "centrifuge.js": CENTRIFUGE,
  "perfect-cursors.js": PERFECT_CURSORS,
  "uplot.css": UPLOT_CSS,
  "uplot.js": UPLOT,
  "uqr.js": UQR,
};

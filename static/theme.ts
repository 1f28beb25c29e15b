/**
 * Light, dark, or as the system has it. Every page runs this before its first paint, so that nothing flashes; it puts the
 * button that changes it into the bar on top. A classic script: modules run too late for that.
 */
{
  const THEMES = ["system", "light", "dark"] as const;
  type Theme = typeof THEMES[number];

  const KEY = "raindrops-theme";
  const WORDS: Readonly<Record<Theme, string>> = {
    system: "Colours: as your system",
    light: "Colours: light",
    dark: "Colours: dark",
  };
  const ICONS: Readonly<Record<Theme, string>> = {
    system: "M10 3a7 7 0 1 0 0 14a7 7 0 1 0 0-14zM10 4.5v11a5.5 5.5 0 0 0 0-11z",
    light:
      "M10 6.5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7zM10 1.5v2M10 16.5v2M1.5 10h2M16.5 10h2M4 4l1.4 1.4M14.6 14.6L16 16M4 16l1.4-1.4M14.6 5.4L16 4",
    dark: "M16.5 12.5A7 7 0 0 1 7.5 3.5a7 7 0 1 0 9 9z",
  };
  const SVG = "http://www.w3.org/2000/svg";

  /** What this browser remembers; the system's where it remembers nothing, or may not. */
  const readTheme = (): Theme => {
    try {
      const stored = localStorage.getItem(KEY);
      return THEMES.find((theme) => theme === stored) ?? "system";
    } catch {
      return "system";
    }
  };
  const rememberTheme = (theme: Theme): void => {
    try {
      if (theme === "system") localStorage.removeItem(KEY);
      else localStorage.setItem(KEY, theme);
    } catch {
      // Then it holds until the page is left.
    }
  };

  const root = document.documentElement;
  /** The frame of the window has the colour of the page. */
  const frames = [...document.querySelectorAll<HTMLMetaElement>("meta[name=theme-color]")].map((meta) => ({
    meta,
    own: meta.content,
    theme: meta.media.includes("dark") ? "dark" : "light",
  }));
  let theme = readTheme();
  const apply = () => {
    if (theme === "system") delete root.dataset.theme;
    else root.dataset.theme = theme;
    for (const { meta, own } of frames) {
      meta.content = frames.find((frame) => frame.theme === theme)?.own ?? own;
    }
  };
  apply();

  addEventListener("DOMContentLoaded", () => {
    // With the other tools of the page, where it has some: a narrow bar takes them to one line.
    const bar = document.querySelector(".top .tools") ?? document.querySelector(".top");
    if (bar === null) return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "quiet theme";
    const icon = document.createElementNS(SVG, "svg");
    for (const [name, value] of [["viewBox", "0 0 20 20"], ["width", "18"], ["height", "18"]] as const) {
      icon.setAttribute(name, value);
    }
    icon.setAttribute("aria-hidden", "true");
    const path = document.createElementNS(SVG, "path");
    icon.append(path);
    button.append(icon);
    const show = () => {
      apply();
      path.setAttribute("d", ICONS[theme]);
      icon.dataset.theme = theme;
      button.ariaLabel = button.title = WORDS[theme];
    };
    button.onclick = () => {
      theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length] ?? "system";
      rememberTheme(theme);
      show();
    };
    // Another tab may have changed it.
    addEventListener("storage", ({ key }) => {
      if (key !== KEY && key !== null) return;
      theme = readTheme();
      show();
    });
    show();
    bar.append(button);
  });
}

// Before anything is painted: the theme that was chosen, so that no page flashes in the other.
try {
  const theme = localStorage.getItem("stepwell.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {}

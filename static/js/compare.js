/* Before and after: the slider moves the edge between two pictures; arrow keys work since it is a range input. */
document.addEventListener("input", (event) => {
  if (event.target.matches(".compare > input")) {
    event.target.parentElement.style.setProperty("--at", `${event.target.value}%`);
  }
});

export default function ({ data, parentElement }) {
  parentElement.querySelector("iframe").srcdoc = data.page;
}

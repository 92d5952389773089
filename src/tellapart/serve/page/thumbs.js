// Small upright pictures of the user's files, made here one after the other, so that a page of many stays light.

const SIDE_PX = 480; // the longer side, at most

let last = Promise.resolve();

/** The URL of a small picture of a file, upright and over white; null where the browser cannot show it. */
export function thumbnail(file) {
  const made = last.then(() => make(file));
  last = made;
  return made;
}

async function make(file) {
  let picture;
  try {
    picture = await createImageBitmap(file);
  } catch {
    return null; // not a picture, or of a kind that only the server reads
  }
  const scale = Math.min(SIDE_PX / Math.max(picture.width, picture.height), 1);
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(Math.round(picture.width * scale), 1);
  canvas.height = Math.max(Math.round(picture.height * scale), 1);
  const pen = canvas.getContext("2d");
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.imageSmoothingQuality = "high";
  pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
  picture.close();
  const tiny = Math.max(canvas.width, canvas.height) < 64; // too few pixels to lose any
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, tiny ? "image/png" : "image/jpeg", 0.85));
  return blob && URL.createObjectURL(blob);
}

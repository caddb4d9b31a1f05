#!/usr/bin/env python3
"""make_photos.py --out DIR: a small data set of real photographs in Flickr8k's format, made without a network.

The photographs are the ones that scikit-image ships inside its wheel (extra `demo`), whole or as a region cut out of them; the
captions were written by looking at each. Writes `DIR/Flicker8k_Dataset/*.jpg` (long side 375…500 pixels, JPEG quality 90) and
`DIR/Flickr8k.token.txt` (five lines `name.jpg#i<TAB>caption` each, tokenised as Flickr8k is). Running it again writes the same.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path
from typing import NamedTuple

from PIL import Image

SHORTEST, LONGEST = 375, 500  # the long side, in pixels
Box = tuple[int, int, int, int]


class Photograph(NamedTuple):
    """One image to write: a file of scikit-image, its size there, the region to keep (None: all of it), and five captions."""

    name: str
    file: str
    size: tuple[int, int]
    box: Box | None
    captions: str


PHOTOGRAPHS = (
    Photograph("astronaut", "astronaut.png", (512, 512), None, """\
        A smiling woman in an orange space suit poses in front of a flag .
        An astronaut sits for her portrait with a helmet beside her .
        A woman with short hair wears an orange flight suit .
        A portrait of an astronaut with an American flag and a model of a space shuttle .
        The woman in the pressure suit smiles at the camera ."""),
    Photograph("shuttle_model", "astronaut.png", (512, 512), (330, 0, 512, 330), """\
        A model of a space shuttle stands upright on a black table .
        A white shuttle is mounted on a brown fuel tank and two white boosters .
        A small model of a spacecraft ready for launch .
        The toy space shuttle points straight up .
        A scale model of a shuttle in front of a grey backdrop ."""),
    Photograph("helmet", "astronaut.png", (512, 512), (270, 330, 512, 512), """\
        A black and white space helmet reflects a bright light .
        The dark visor of an astronaut 's helmet is closed .
        A shiny round helmet in front of an orange suit with a name patch .
        A close up of a helmet with a glossy black visor .
        A window is mirrored in the visor of a helmet ."""),
    Photograph("cameraman", "camera.png", (512, 512), None, """\
        A man in a dark coat looks through a camera on a tripod .
        A black and white photo of a man filming on a field .
        A man bends down to his camera in a wide field .
        A cameraman with gloves stands in front of a distant skyline .
        Someone in a long black coat is taking pictures outdoors ."""),
    Photograph("tripod", "camera.png", (512, 512), (210, 230, 512, 512), """\
        The legs of a metal tripod stand on short grass .
        A tripod is set up on a lawn .
        A black and white picture of three thin metal legs on a field .
        Only the lower part of a tripod can be seen on the grass .
        A tripod with a crank on an empty sports field ."""),
    Photograph("skyline", "camera.png", (512, 512), (330, 100, 512, 250), """\
        A tall tower and a dome rise above bare trees .
        A hazy skyline with a high-rise and a round roof .
        Several buildings stand at the far end of a field .
        A black and white view of a campus with a tower block .
        A city seen from a distance under a grey sky ."""),
    Photograph("cat", "chelsea.png", (451, 300), None, """\
        A tabby cat looks into the camera .
        A close up of a ginger cat with green eyes .
        The face of a striped cat with long white whiskers .
        An orange cat tilts its head a little .
        A cat with a pink nose stares at something ."""),
    Photograph("cat_eye", "chelsea.png", (451, 300), (130, 60, 300, 170), """\
        A single green eye of a cat surrounded by orange fur .
        An extreme close up of a cat 's eye .
        The pupil of the cat is narrow and black .
        One yellow and green eye looks to the side .
        Short ginger fur around the eye of an animal ."""),
    Photograph("cat_nose", "chelsea.png", (451, 300), (200, 170, 340, 280), """\
        A close up of the pink nose of a cat .
        The nose and mouth of a ginger animal .
        White whiskers grow beside a red nose .
        A furry snout seen from very near .
        The muzzle of a cat with white fur on its chin ."""),
    Photograph("coffee", "coffee.png", (600, 400), None, """\
        A red cup of espresso stands on a saucer with a spoon .
        A cup of coffee on a wooden table .
        A small metal spoon lies next to a cup on a red plate .
        Fresh espresso with brown foam in a white and red cup .
        Somebody has ordered a coffee at a wooden counter ."""),
    Photograph("rocket", "rocket.jpg", (640, 427), None, """\
        A white rocket stands on its launch pad at dusk .
        A tall rocket between four towers under a dark blue sky .
        Bright lights shine around a rocket before its launch .
        A space rocket is ready to take off in the evening .
        Lattice towers surround a rocket at night ."""),
    Photograph("lattice_tower", "rocket.jpg", (640, 427), (0, 0, 215, 427), """\
        Two steel towers stand against the evening sky .
        A tall lattice tower with bright lamps at its foot .
        Street lights sparkle like stars below a metal mast .
        The sky behind the masts is deep blue .
        Steel masts and glowing lamps after sunset ."""),
    Photograph("motorcycle", "motorcycle_left.png", (741, 500), None, """\
        A red motorcycle is parked in a garage .
        A shiny red motorbike stands in front of metal shelves .
        A motorcycle with a black seat on a concrete floor .
        A motorbike leans on its stand next to a wooden bench .
        Someone keeps an old motorcycle in a workshop full of boxes ."""),
    Photograph("front_wheel", "motorcycle_left.png", (741, 500), (480, 90, 710, 460), """\
        The front wheel and the headlight of a red motorcycle .
        A red mudguard covers a black tyre with a disc brake .
        The fork of a motorbike in front of cardboard boxes .
        A round headlamp above the front wheel of a bike .
        The front half of a motorbike beside a shelf ."""),
    Photograph("engine", "motorcycle_left.png", (741, 500), (320, 220, 500, 400), """\
        A close up of the silver engine of a motorcycle .
        A motor with cooling fins and curved exhaust pipes .
        Chrome parts of an engine below a red tank .
        The polished engine block of a motorbike .
        Metal pipes bend around a motor ."""),
    Photograph("bench", "motorcycle_left.png", (741, 500), (0, 20, 290, 290), """\
        A wooden bench stands behind the seat of a motorcycle .
        An old garden bench in front of a white door .
        The rear of a red motorbike is parked next to a bench .
        A black leather seat and a weathered wooden bench .
        A bench and a small red bicycle are stored in a shed ."""),
    Photograph("galaxies", "hubble_deep_field.jpg", (1000, 872), None, """\
        Thousands of galaxies shine in the blackness of space .
        A telescope 's view of the deep sky .
        Red , white and blue points of light on a black background .
        Many distant galaxies and a few stars .
        A picture of the universe full of tiny bright spots ."""),
    Photograph("retina", "retina.jpg", (1411, 1411), None, """\
        The back of a human eye with red blood vessels .
        A medical picture of a retina .
        A round orange disc with branching veins and a bright spot .
        Blood vessels spread from a yellow spot on a red circle .
        A doctor 's photograph of the inside of an eye ."""),
    Photograph("coins", "coins.png", (384, 303), None, """\
        Rows of ancient coins lie on a dark surface .
        A collection of old coins with worn faces .
        Four rows of round metal coins in a museum .
        A black and white photo of Greek coins .
        Many coins of different sizes are arranged in lines ."""),
    Photograph("moon", "moon.png", (512, 512), None, """\
        Craters on the grey surface of the moon .
        A view of the moon from above with one round crater .
        A flat grey landscape with small hills and pits .
        The surface of a planet without any water or plants .
        A bright crater lies in a plain of grey dust ."""),
    Photograph("bricks", "brick.png", (512, 512), None, """\
        A pavement of long narrow bricks .
        Grey bricks with pale joints between them .
        A black and white texture of a brick wall .
        Rows of bricks laid side by side .
        The bricks of a path seen from above ."""),
    Photograph("grass", "grass.png", (512, 512), None, """\
        A lawn of dry grass with some clover leaves .
        Blades of grass cover the whole ground .
        A black and white close up of a meadow .
        Cut grass and small leaves on the ground .
        Straw and grass lie in all directions ."""),
    Photograph("gravel", "gravel.png", (512, 512), None, """\
        A heap of small grey stones .
        Gravel covers the ground .
        Many little pebbles with sharp edges .
        A close up of crushed rock .
        Loose stones on a path ."""),
    Photograph("page", "page.png", (384, 191), None, """\
        A photographed page of printed text .
        Black letters on white paper below a heading .
        A paragraph about image segmentation .
        A page of a book with a line of program code .
        The text on the sheet is darker towards one corner ."""),
)  # fmt: skip


def resized(picture: Image.Image) -> Image.Image:
    """The picture with its long side between SHORTEST and LONGEST, its shape kept."""
    long = max(picture.size)
    scale = min(max(long, SHORTEST), LONGEST) / long
    width, height = picture.size
    return picture if scale == 1 else picture.resize((round(width * scale), round(height * scale)), Image.Resampling.LANCZOS)


def make(out: Path, originals: Path) -> int:
    """Writes the data set into `out`, the captions last, and gives the number of images."""
    folder = out / "Flicker8k_Dataset"
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for photograph in PHOTOGRAPHS:
        with Image.open(originals / photograph.file) as picture:
            if picture.size != photograph.size:  # the boxes and captions belong to that very picture
                sys.exit(f"{photograph.file} is {picture.size}, not {photograph.size}: another scikit-image than 0.26?")
            region = picture.convert("RGB").crop(photograph.box or (0, 0, *picture.size))
        part = folder / f".{photograph.name}.part"
        resized(region).save(part, "JPEG", quality=90)
        part.replace(folder / f"{photograph.name}.jpg")
        captions = [line.strip() for line in photograph.captions.splitlines()]
        lines += [f"{photograph.name}.jpg#{i}\t{caption}\n" for i, caption in enumerate(captions)]
    part = out / ".Flickr8k.token.txt.part"
    part.write_text("".join(lines), encoding="utf-8")
    part.replace(out / "Flickr8k.token.txt")
    return len(PHOTOGRAPHS)


def main() -> None:
    summary = "a small Flickr8k-format data set of real photographs, made without a network"
    parser = argparse.ArgumentParser(prog="make_photos.py", description=summary)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the data set goes; made if missing")
    out = parser.parse_args().out
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        sys.exit("scikit-image is not installed; its wheel holds the photographs\n  remedy: scripts/install demo")
    count = make(out, Path(spec.origin).parent / "data")
    flags = f"--flickr-images-dir {out / 'Flicker8k_Dataset'} --flickr-captions-file {out / 'Flickr8k.token.txt'}"
    print(f"{count} photographs: {flags}")


if __name__ == "__main__":
    main()

"""Common given names of the United States, for `free_text`; kept as plain lists of words."""

from __future__ import annotations

from typing import Final

_NAMES: Final = """
aaliyah aaron abby abigail abraham adam addison adrian adriana aidan aiden alan alana albert
alejandra alejandro alex alexa alexander alexandra alexis ali alice alicia alina allison
alyssa amanda amara amari amelia amina amir amy ana andre andrea andres andrew andy angela
angelina angelo anna annabelle anne annie anthony antonio aria ariana arianna ariel arjun
arthur arya asher ashley ashton athena aubree aubrey audrey aurora ava avery ayden ben
benjamin bethany bianca bradley brandon braxton brayden breanna brenda brendan brian brianna
bridget brittany brody bryan bryce bryson caleb callie calvin cameron camila camilla carla
carlos caroline cassandra catherine cecilia cesar charles charlotte chloe chris christina
christine christopher cindy claire clara claudia cody colby colin collin connor conor cory
courtney cristian cynthia damian daniel daniela danielle danny darius david dayana deandre
declan delilah derek derrick devin devon diana diego dominic donovan dylan eddie edgar
eduardo edward edwin eleanor elena eli eliana elias elijah elisa elise eliza elizabeth ella
ellen ellie elliot elliott eloise emery emilia emiliano emily emma emmanuel emmett eric
erica erik erika erin esmeralda esteban esther ethan eva evan evelyn everett everly ezekiel
ezra fabian fatima felicia felix fernanda fernando finley fiona francisco gabriel gabriela
gabriella gabrielle gael gavin genevieve george gianna giovanni giselle greyson gustavo
hailey haley hannah hassan hayden hector heidi helen henry hugo ian ibrahim isaac isabel
isabella isabelle isaiah isla ismael ivan izabella jace jacob jaden jaiden jalen jamal james
jameson jamie jane janelle jared jason javier jaxon jaxson jayden jayla jaylen jayson jeff
jeffrey jenna jennifer jenny jeremiah jeremy jessica jillian jimmy joanna joaquin jocelyn
joel joey johanna john johnny jonah jonathan jorge jose joseph joshua josiah josie josue
juan judah julia julian juliana julianna julie juliet julio julius justin kaden kaitlyn
kaleb kamila karen karina karla kate katelyn katherine kathryn katie kayden kayla kaylee
keira keith kelsey kendra kenneth kevin khadija khloe kiara kimberly kinsley kira kristen
kristina kyle kylie landon lauren layla leah leila leilani leo leon leonardo leslie levi
liam lila liliana lillian linda lindsey lisa lola lorenzo louis luca lucas lucia lucy luis
luka luke luz lydia mackenzie maddox madeline madelyn makayla malachi malik marcos marcus
margaret maria mariah mariana mario marisol marissa martin mateo matthew maurice maximus
maya mckenzie megan melanie melissa micah michael michelle miguel mikayla mila mohamed
mohammed molly monica muhammad mya mykayla nadia naomi natalia natalie natasha nathan
nathaniel nevaeh nicholas nick nicolas nicole nina noah noelle nolan nora norah oliver
olivia omar oscar owen pablo pamela patricia patrick paul paula payton pedro penelope peter
peyton phillip phoebe quentin rachel rafael raul raymond reagan rebecca reese regina renata
ricardo richard ricky robert roberto rodrigo ronald roxanne ruben ryan ryder rylee sabrina
sadie salvador samantha samara samir samuel santiago sara sarah scarlett sean sebastian
selena serena sergio seth shane shannon sharon shawn shelby silas simon skylar skyler sofia
sonia sophia sophie stephanie stephen steven susan tanya tara tatiana teagan teresa terrance
theodore thomas tiffany timothy tina tobias toby tommy tony trevor tristan tyler tyrone
tyson valentina valeria valerie vanessa veronica vicente victor vincent vivian vivienne
walter wendy wesley william wyatt xander xavier ximena yahir yaretzi yasmin yesenia yusuf
zachary zane zara zayden zoe zoey
"""
_NAMES_AND_WORDS: Final = """
ace amber angel april archer art austin autumn axel basil beau bella bennett bill bishop
blake bo bobby brook brooke brooklyn carmen carter case chance charlie chase chelsea
christian clark clay cliff cole colt cooper crystal daisy dakota dale dash dawn dean dennis
destiny don drew duke easton emerson eve faith finn forest frank gage gene genesis ginger
glen grace graham grant grayson guy harley harper harrison harry hazel heath heather holly
hope hudson hunter iris israel ivy jack jackson jake jasmine jay jerry jesse jesus jordan
joy jude june kai kelly kendall kennedy king knox lamar legend lily lincoln logan london
luna madison major mark mary mason maverick max may melody mia miles morgan moses nova olive
opal paige paris parker pat pearl piper preston prince quinn ray reed reign rich riley river
rob robin roman rosa rose rowan royal ruby rusty sage sam sandra savannah sawyer sierra sky
spencer star stella sterling stone storm sue summer sunny sydney taylor ted travis trinity
victoria violet wade weston will willow wren zion
"""

GIVEN_NAMES: Final = frozenset(_NAMES.split())
"""Names that are hardly anything else."""

GIVEN_NAMES_THAT_ARE_WORDS: Final = frozenset(_NAMES_AND_WORDS.split())
"""Names that are words or places as well; they count where they are written with a capital."""
